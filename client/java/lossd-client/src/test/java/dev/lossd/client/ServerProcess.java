package dev.lossd.client;

import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** A lossd process on a free port and a Unix socket; the property lossd.bin says where lossd is. */
final class ServerProcess implements AutoCloseable {
  private static final Pattern LISTEN = Pattern.compile("listen=([0-9.]+:\\d+)");

  private final Process process;
  private final Path directory;
  final String tcp;
  final String unix;

  private ServerProcess(Process process, Path directory, String tcp, String unix) {
    this.process = process;
    this.directory = directory;
    this.tcp = tcp;
    this.unix = unix;
  }

  /** Starts a server on a free port. */
  static ServerProcess start(String... flags) throws IOException {
    return startAt("127.0.0.1:0", flags);
  }

  /** Starts a server at this address. */
  static ServerProcess startAt(String address, String... flags) throws IOException {
    Path directory = Files.createTempDirectory("lossd");
    String unix = "unix:" + directory.resolve("s");
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("lossd.bin"), "lossd").toString());
    command.addAll(List.of("--listen", address, "--listen", unix, "--threads", "2"));
    command.addAll(List.of(flags));
    Process process =
        new ProcessBuilder(command).redirectOutput(ProcessBuilder.Redirect.DISCARD).start();
    Runtime.getRuntime().addShutdownHook(new Thread(process::destroyForcibly));
    BufferedReader log =
        new BufferedReader(new InputStreamReader(process.getErrorStream(), StandardCharsets.UTF_8));
    StringBuilder seen = new StringBuilder();
    for (String line = log.readLine(); line != null; line = log.readLine()) {
      Matcher found = LISTEN.matcher(line);
      if (found.find()) {
        drain(log);
        return new ServerProcess(process, directory, found.group(1), unix);
      }
      seen.append(line).append('\n');
    }
    throw new IOException("lossd did not start:\n" + seen);
  }

  private static void drain(BufferedReader log) {
    Thread reader =
        new Thread(
            () -> {
              try {
                while (log.readLine() != null) {}
              } catch (IOException closed) {
                // The process has ended.
              }
            });
    reader.setDaemon(true);
    reader.start();
  }

  /** Ends the server without a word. */
  void kill() {
    process.destroyForcibly().onExit().join();
  }

  @Override
  public void close() throws IOException {
    process.destroy();
    try {
      if (!process.waitFor(20, TimeUnit.SECONDS)) {
        kill();
        throw new IOException("lossd did not end");
      }
    } catch (InterruptedException error) {
      kill();
      Thread.currentThread().interrupt();
    }
    // One that was killed leaves its socket and its lock.
    for (File file : directory.toFile().listFiles()) {
      Files.delete(file.toPath());
    }
    Files.delete(directory);
  }
}
