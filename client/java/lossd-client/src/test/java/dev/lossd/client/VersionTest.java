package dev.lossd.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;

/** One version for the repository, the library and its poms. */
class VersionTest {
  @Test
  void theVersionIsThatOfTheRepository() throws IOException {
    Path root = Path.of(System.getProperty("lossd.root"));
    String version = Files.readString(root.resolve("version.txt")).strip();
    assertEquals(version, LossdClient.version());
    for (String pom : List.of("pom.xml", "lossd-bom/pom.xml", "examples/pom.xml")) {
      String text = Files.readString(root.resolve("client/java").resolve(pom));
      assertTrue(text.contains("<version>" + version + "</version>"), pom);
    }
  }
}
