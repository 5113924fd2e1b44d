package sinsok.examples;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.io.Reader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.SQLException;
import java.time.Duration;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import java.util.StringJoiner;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * A consumer of sinsok's events that needs nothing of sinsok's code: Consume SETTINGS SCHEMAS STATE TOPIC...
 *
 * <p>SETTINGS is a file of Kafka client settings, SCHEMAS the folder of the JSON Schemas, STATE a SQLite file that
 * outlives the process. One line an event:
 *
 * <pre>
 * new      counts now: show it
 * old      a newer or a confirmed result of this study is shown already
 * seen     the same event again, dropped by its ce_id
 * unknown  of a type that this consumer has no schema for, passed over
 * broken   does not fit its schema: a person has to look
 * </pre>
 */
public final class Consume {
    private static final List<String> FIELDS =
            List.of("site", "study_uid", "alert_id", "revision", "unconfirmed", "outcome", "priority", "destination",
                    "reason");

    private static volatile boolean stopping;

    private final Contracts contracts;
    private final State state;

    private Consume(Contracts contracts, State state) {
        this.contracts = contracts;
        this.state = state;
    }

    public static void main(String[] arguments) throws Exception {
        Properties settings = settings(Path.of(arguments[0]));
        List<String> topics = List.of(arguments).subList(3, arguments.length);
        PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);
        var bytes = new ByteArrayDeserializer();
        try (State state = new State(arguments[2]);
                var consumer = new KafkaConsumer<byte[], byte[]>(settings, bytes, bytes)) {
            stopOnSignal();
            consumer.subscribe(topics);
            new Consume(new Contracts(Path.of(arguments[1])), state).read(consumer, out);
        }
    }

    private static Properties settings(Path file) throws IOException {
        Properties settings = new Properties();
        try (Reader reader = Files.newBufferedReader(file)) {
            settings.load(reader);
        }
        settings.put("auto.offset.reset", "earliest");
        // Committed by hand: closing a consumer that commits by itself also commits what was polled and not handled.
        settings.put("enable.auto.commit", "false");
        return settings;
    }

    /** On SIGTERM what is in hand is finished; the process ends once the consumer is closed. */
    private static void stopOnSignal() {
        Thread main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            stopping = true;
            try {
                main.join();
            } catch (InterruptedException impatient) {
                Thread.currentThread().interrupt();
            }
        }));
    }

    private void read(KafkaConsumer<byte[], byte[]> consumer, PrintStream out) throws SQLException {
        while (!stopping) {
            for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(500))) {
                // A crash before the commit prints the line again: at least once, never not at all.
                out.println(handle(record));
                state.commit();
            }
            try {
                consumer.commitSync();
            } catch (CommitFailedException | RebalanceInProgressException moved) {
                // Another consumer of the group reads these again, and drops them where it shares this state.
                System.err.println("not committed: " + moved.getMessage());
            }
        }
    }

    /** What became of a record, in one line. What is kept and that it was handled become true together. */
    private String handle(ConsumerRecord<byte[], byte[]> record) throws SQLException {
        String type = header(record, "ce_type");
        String id = header(record, "ce_id");
        String place = record.topic() + "/" + record.partition() + "/" + record.offset();
        if (!contracts.knows(type)) {
            return "unknown " + place;
        }
        if (state.handled(id)) {
            return "seen " + type + " " + id;
        }
        JsonNode event = contracts.parse(record.value());
        Set<String> faults = contracts.faults(type, event);
        if (!faults.isEmpty() || !event.get("event_id").textValue().equals(id)) {
            System.err.println(place + ": " + (faults.isEmpty() ? "ce_id is not event_id" : faults));
            return "broken " + type + " " + place;
        }
        String verdict = keep(type, header(record, "ce_subject"), event) ? "new" : "old";
        state.keepHandled(id, event.get("time").textValue());
        StringJoiner line = new StringJoiner(" ").add(verdict).add(type).add(id);
        for (String name : FIELDS) {
            if (event.has(name)) {
                line.add(name + "=" + event.get(name));
            }
        }
        return line.toString();
    }

    /** Writes down what a PACS would show. Fields that a later version added are not looked at. */
    private boolean keep(String type, String study, JsonNode event) throws SQLException {
        switch (type) {
            case "sinsok.StudyTriaged.v1":
                return state.keepResult(
                        study, event.get("revision").intValue(), event.get("unconfirmed").booleanValue(), event);
            case "sinsok.AlertRaised.v1":
            case "sinsok.AlertWithdrawn.v1":
                boolean withdrawn = type.equals("sinsok.AlertWithdrawn.v1");
                state.keepAlert(event.get("alert_id").textValue(), study, withdrawn);
                return true;
            default:
                return true;
        }
    }

    private static String header(ConsumerRecord<?, ?> record, String name) {
        Header header = record.headers().lastHeader(name);
        return header == null || header.value() == null ? "" : new String(header.value(), StandardCharsets.UTF_8);
    }
}
