import ca.uhn.hl7v2.AcknowledgmentCode;
import ca.uhn.hl7v2.DefaultHapiContext;
import ca.uhn.hl7v2.ErrorCode;
import ca.uhn.hl7v2.HL7Exception;
import ca.uhn.hl7v2.HapiContext;
import ca.uhn.hl7v2.Location;
import ca.uhn.hl7v2.app.HL7Service;
import ca.uhn.hl7v2.llp.MinLowerLayerProtocol;
import ca.uhn.hl7v2.model.AbstractGroup;
import ca.uhn.hl7v2.model.Group;
import ca.uhn.hl7v2.model.Message;
import ca.uhn.hl7v2.model.Segment;
import ca.uhn.hl7v2.model.Structure;
import ca.uhn.hl7v2.model.Type;
import ca.uhn.hl7v2.protocol.ReceivingApplication;
import ca.uhn.hl7v2.util.Terser;
import ca.uhn.hl7v2.validation.impl.ValidationContextFactory;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * A receiver of HL7 v2.5.1 over MLLP. It parses with HAPI's validation on and prints every message as HAPI understood
 * it, one JSON object a line. The receiving facility (MSH-6) says what it answers: AE, AR, CA, SILENT, anything else AA.
 *
 * <p>java -cp 'libs/*' Receiver.java PORT
 */
public final class Receiver implements ReceivingApplication<Message> {
    private static final PrintStream OUT =
            new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);

    public static void main(String[] arguments) throws Exception {
        HapiContext context = new DefaultHapiContext();
        context.setValidationContext(ValidationContextFactory.defaultValidation());
        context.setLowerLayerProtocol(new MinLowerLayerProtocol(true));
        HL7Service server = context.newServer(Integer.parseInt(arguments[0]), false);
        server.registerApplication("*", "*", new Receiver());
        server.startAndWait();
        OUT.println("{\"ready\":true}");
    }

    @Override
    public boolean canProcess(Message message) {
        return true;
    }

    @Override
    public Message processMessage(Message message, Map<String, Object> metadata) throws HL7Exception {
        Terser terser = new Terser(message);
        List<String> segments = new ArrayList<>();
        walk(message, "", segments);
        OUT.println("{\"structure\":" + quoted(message.getName()) + ",\"segments\":[" + String.join(",", segments) + "]}");
        String facility = terser.get("/.MSH-6-1");
        try {
            return answer(message, terser, facility == null ? "" : facility);
        } catch (IOException | InterruptedException failure) {
            throw new HL7Exception(failure);
        }
    }

    private static Message answer(Message message, Terser terser, String facility)
            throws HL7Exception, IOException, InterruptedException {
        switch (facility) {
            case "AE":
            case "AR":
                // Receivers like to quote what they dislike.
                HL7Exception complaint =
                        new HL7Exception("no order for " + terser.get("/.PID-5-1"), ErrorCode.UNKNOWN_KEY_IDENTIFIER);
                complaint.setLocation(new Location().withSegmentName("PID").withField(3));
                return message.generateACK(AcknowledgmentCode.valueOf(facility), complaint);
            case "CA":
                return message.generateACK(AcknowledgmentCode.CA, null);
            case "SILENT":
                Thread.sleep(Long.MAX_VALUE);
                return null;
            default:
                return message.generateACK();
        }
    }

    private static void walk(Group group, String path, List<String> segments) throws HL7Exception {
        for (String name : group.getNames()) {
            for (Structure structure : group.getAll(name)) {
                if (structure instanceof Group) {
                    walk((Group) structure, path + "/" + name, segments);
                } else if (!structure.isEmpty()) {
                    segments.add(segment((Segment) structure, path, ((AbstractGroup) group).getNonStandardNames().contains(name)));
                }
            }
        }
    }

    private static String segment(Segment segment, String path, boolean nonstandard) throws HL7Exception {
        List<String> fields = new ArrayList<>();
        for (int number = 1; number <= segment.numFields(); number++) {
            List<String> repetitions = new ArrayList<>();
            for (int repetition = 0; repetition < segment.getField(number).length; repetition++) {
                repetitions.add(repetition(segment, number, repetition));
            }
            if (!repetitions.isEmpty()) {
                fields.add(quoted(Integer.toString(number)) + ":[" + String.join(",", repetitions) + "]");
            }
        }
        return "{\"name\":" + quoted(segment.getName()) + ",\"group\":" + quoted(path) + ",\"nonstandard\":" + nonstandard
                + ",\"fields\":{" + String.join(",", fields) + "}}";
    }

    private static String repetition(Segment segment, int number, int repetition) throws HL7Exception {
        Type type = segment.getField(number, repetition);
        List<String> components = new ArrayList<>();
        for (int component = 1; component <= Terser.numComponents(type); component++) {
            // The first subcomponent, unless there are more.
            List<String> parts = new ArrayList<>();
            for (int part = 1; part <= Terser.numSubComponents(type, component); part++) {
                String value = Terser.get(segment, number, repetition, component, part);
                parts.add(quoted(value == null ? "" : value));
            }
            while (parts.size() > 1 && parts.get(parts.size() - 1).equals("\"\"")) {
                parts.remove(parts.size() - 1);
            }
            components.add(parts.size() == 1 ? parts.get(0) : "[" + String.join(",", parts) + "]");
        }
        while (components.size() > 1 && components.get(components.size() - 1).equals("\"\"")) {
            components.remove(components.size() - 1);
        }
        return "[" + String.join(",", components) + "]";
    }

    private static String quoted(String text) {
        StringBuilder json = new StringBuilder("\"");
        for (char character : text.toCharArray()) {
            if (character == '"' || character == '\\') {
                json.append('\\').append(character);
            } else if (character < ' ') {
                json.append(String.format("\\u%04x", (int) character));
            } else {
                json.append(character);
            }
        }
        return json.append('"').toString();
    }
}
