package sinsok.examples;

import com.fasterxml.jackson.databind.JsonNode;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.List;

/** What was handled and what counts now, in a SQLite file; written down only by {@link #commit}, all together. */
final class State implements AutoCloseable {
    private static final List<String> TABLES = List.of(
            "CREATE TABLE IF NOT EXISTS handled (id TEXT PRIMARY KEY, time TEXT NOT NULL)",
            "CREATE TABLE IF NOT EXISTS results (study TEXT PRIMARY KEY, revision INTEGER NOT NULL,"
                    + " unconfirmed INTEGER NOT NULL, event TEXT NOT NULL)",
            "CREATE TABLE IF NOT EXISTS alerts (id TEXT PRIMARY KEY, study TEXT NOT NULL, withdrawn INTEGER NOT NULL)");

    /** A higher revision counts over a lower one; of one revision a confirmed result, else the later. */
    private static final String KEEP_RESULT =
            """
            INSERT INTO results VALUES (?, ?, ?, ?) ON CONFLICT (study) DO UPDATE
            SET revision = excluded.revision, unconfirmed = excluded.unconfirmed, event = excluded.event
            WHERE (excluded.revision, -excluded.unconfirmed) >= (results.revision, -results.unconfirmed)
            """;

    private static final String KEEP_ALERT =
            """
            INSERT INTO alerts VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE
            SET withdrawn = max(withdrawn, excluded.withdrawn)
            """;

    private final Connection database;

    State(String file) throws SQLException {
        database = DriverManager.getConnection("jdbc:sqlite:" + file);
        try (Statement statement = database.createStatement()) {
            for (String table : TABLES) {
                statement.execute(table);
            }
        }
        database.setAutoCommit(false);
    }

    boolean handled(String id) throws SQLException {
        try (PreparedStatement query = database.prepareStatement("SELECT 1 FROM handled WHERE id = ?")) {
            query.setString(1, id);
            try (ResultSet row = query.executeQuery()) {
                return row.next();
            }
        }
    }

    void keepHandled(String id, String time) throws SQLException {
        write("INSERT INTO handled VALUES (?, ?)", id, time);
    }

    /** Whether this result counts now. */
    boolean keepResult(String study, int revision, boolean unconfirmed, JsonNode event) throws SQLException {
        return write(KEEP_RESULT, study, revision, unconfirmed ? 1 : 0, event.toString()) > 0;
    }

    void keepAlert(String id, String study, boolean withdrawn) throws SQLException {
        write(KEEP_ALERT, id, study, withdrawn ? 1 : 0);
    }

    void commit() throws SQLException {
        database.commit();
    }

    private int write(String statement, Object... values) throws SQLException {
        try (PreparedStatement written = database.prepareStatement(statement)) {
            for (int index = 0; index < values.length; index++) {
                written.setObject(index + 1, values[index]);
            }
            return written.executeUpdate();
        }
    }

    @Override
    public void close() throws SQLException {
        database.close();
    }
}
