package dev.lossd.examples;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

/** Every block of Java in README.md is code of the examples, and all of their code is there. */
class ReadmeTest {
  private static final Path FOLDER = Path.of(System.getProperty("lossd.root"), "client/java");
  private static final Pattern MARKED =
      Pattern.compile("// \\[(?!end)\\w+\\]\\n(.*?)\\n *// \\[end\\]", Pattern.DOTALL);
  private static final Pattern FENCED = Pattern.compile("```java\\n(.*?)```", Pattern.DOTALL);

  @Test
  void thePageShowsTheExamples() throws IOException {
    String page = Files.readString(FOLDER.resolve("README.md"));
    List<String> sources = new ArrayList<>();
    for (String name : List.of("WorkedExample", "Tasks")) {
      Path file = FOLDER.resolve("examples/src/main/java/dev/lossd/examples/" + name + ".java");
      sources.addAll(blocks(MARKED, Files.readString(file)));
    }
    Set<String> shown = new LinkedHashSet<>(blocks(FENCED, page));
    assertTrue(sources.size() >= 8, "examples: " + sources.size());
    assertEquals(String.join("\n\n", sources), String.join("\n\n", shown));
  }

  private static List<String> blocks(Pattern pattern, String text) {
    List<String> found = new ArrayList<>();
    for (Matcher matcher = pattern.matcher(text); matcher.find(); ) {
      // Whatever the indentation.
      found.add(matcher.group(1).lines().map(String::strip).collect(Collectors.joining("\n")));
    }
    return found;
  }
}
