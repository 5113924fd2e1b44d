package sinsok.examples;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.NullNode;
import com.networknt.schema.JsonSchema;
import com.networknt.schema.JsonSchemaFactory;
import com.networknt.schema.SpecVersion;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/** The JSON Schemas of the events, by ce_type: urn:sinsok:schema:StudyTriaged.v1 is of sinsok.StudyTriaged.v1. */
final class Contracts {
    private final ObjectMapper json = new ObjectMapper();
    private final Map<String, JsonSchema> schemas = new HashMap<>();

    Contracts(Path folder) throws IOException {
        JsonSchemaFactory factory = JsonSchemaFactory.getInstance(SpecVersion.VersionFlag.V202012);
        try (DirectoryStream<Path> files = Files.newDirectoryStream(folder, "*.schema.json")) {
            for (Path file : files) {
                JsonNode schema = json.readTree(file.toFile());
                String id = schema.get("$id").textValue();
                schemas.put("sinsok." + id.substring(id.lastIndexOf(':') + 1), factory.getSchema(schema));
            }
        }
    }

    boolean knows(String type) {
        return schemas.containsKey(type);
    }

    /** The JSON of a message; null, which no schema allows, where there is none. */
    JsonNode parse(byte[] value) {
        try {
            return value == null ? NullNode.instance : json.readTree(value);
        } catch (IOException notJson) {
            return NullNode.instance;
        }
    }

    /** Which rules of its schema an event breaks; never what it says there. */
    Set<String> faults(String type, JsonNode event) {
        Set<String> faults = new TreeSet<>();
        schemas.get(type).validate(event).forEach(fault -> faults.add(fault.getEvaluationPath().toString()));
        return faults;
    }
}
