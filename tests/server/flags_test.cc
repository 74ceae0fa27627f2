// Parsing of flags, variables and files, correct ones and mistyped ones.
#include "server/flags.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/config_file.h"
#include "server/flag_table.h"

namespace lossd {
namespace {

using Strings = std::vector<std::string>;

/// Parses with `files` as the file system.
absl::StatusOr<Invocation> Parse(const Strings& arguments, const Strings& environment = {},
                                 const std::map<std::string, std::string>& files = {}) {
  return ParseFlags(arguments, environment,
                    [&](const std::string& path) -> absl::StatusOr<std::string> {
                      const auto found = files.find(path);
                      if (found == files.end()) return absl::NotFoundError("No such file");
                      return found->second;
                    });
}

absl::StatusOr<Invocation> ParseFile(const std::string& text) {
  return Parse({"--config", "f"}, {}, {{"f", text}});
}

TEST(Flags, NothingGivesTheDefaults) {
  auto parsed = Parse({});
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  Settings defaults;
  for (const FlagEntry& flag : FlagTable()) {
    EXPECT_EQ(ValueText(flag, &parsed->settings), ValueText(flag, &defaults)) << flag.name;
  }
  EXPECT_EQ(defaults.server.listen, Strings{"127.0.0.1:50051"});
}

// Every source accepts the text of each flag's default.
TEST(Flags, EveryFlagTakesItsOwnText) {
  for (const FlagEntry& flag : FlagTable()) {
    Settings settings;
    const std::string text = ValueText(flag, &settings);
    const std::string name(flag.name);
    for (const auto& parsed : {Parse({absl::StrCat("--", name, "=", text)}),
                               Parse({}, {absl::StrCat(VariableName(name), "=", text)})}) {
      ASSERT_TRUE(parsed.ok()) << parsed.status();
      Settings got = parsed->settings;
      EXPECT_EQ(ValueText(flag, &got), text);
      EXPECT_TRUE(parsed->warnings.empty());
    }
    EXPECT_TRUE(absl::StrContains(HelpText(), absl::StrCat("--", name))) << name;
    EXPECT_TRUE(absl::StrContains(HelpText(), VariableName(name))) << name;
  }
}

TEST(Flags, AFlagBeforeAVariableBeforeTheFile) {
  const std::map<std::string, std::string> files = {
      {"f", "threads = 3\nmax-rank = 3\nlisten = [\"f:1\"]\n[not read"},
      {"g", "threads = 3\nmax-rank = 3\nmax-classes = 3\nlisten = [\"g:1\"]\n"}};
  auto parsed =
      Parse({"--threads", "5", "--config=g", "--listen", "a:1", "--listen=b:2,c:3"},
            {"LOSSD_THREADS=4", "LOSSD_MAX_RANK=4", "LOSSD_LISTEN=d:4", "LOSSD_CONFIG=f"}, files);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->settings.server.threads, 5);
  EXPECT_EQ(parsed->settings.server.plan_limits.max_rank, 4);
  EXPECT_EQ(parsed->settings.server.plan_limits.max_classes, 3);
  EXPECT_EQ(parsed->settings.server.listen, (Strings{"a:1", "b:2", "c:3"}));
  parsed = Parse({}, {"LOSSD_CONFIG=g"}, files);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->settings.server.threads, 3);
  EXPECT_EQ(parsed->settings.server.listen, Strings{"g:1"});
}

TEST(Flags, EveryKindFromAFile) {
  auto parsed = ParseFile(
      "\xEF\xBB\xBF# A comment\r\n"
      "listen = [ # one a line\n  \"127.0.0.1:0\",\n  'unix:/run/a,b.sock',\n]\n"
      "\"threads\" = 1_0   # ten\n"
      "max-memory = \"512MiB\"\nmax-label-bytes = 1048576\n"
      "idle-stream = 0\nheader-wait = 2.5\ndrain-timeout = +3\n"
      "reflection = false\nlog-level = \"warn\"");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  const Settings& settings = parsed->settings;
  EXPECT_EQ(settings.server.listen, (Strings{"127.0.0.1:0", "unix:/run/a,b.sock"}));
  EXPECT_EQ(settings.server.threads, 10);
  EXPECT_EQ(settings.server.max_memory_bytes, uint64_t{512} << 20U);
  EXPECT_EQ(settings.server.stream_limits.max_label_bytes, uint64_t{1} << 20U);
  EXPECT_EQ(settings.server.idle_stream, absl::InfiniteDuration());
  EXPECT_EQ(settings.server.header_wait, absl::Seconds(2.5));
  EXPECT_EQ(settings.drain_timeout, absl::Seconds(3));
  EXPECT_FALSE(settings.server.reflection);
  EXPECT_EQ(settings.log_level, "warn");
}

TEST(Flags, BytesInEveryUnit) {
  for (const auto& [text, bytes] : std::map<std::string, uint64_t>{{"1048576", 1 << 20},
                                                                   {"1048576B", 1 << 20},
                                                                   {"2048k", 2 << 20},
                                                                   {"2MiB", 2 << 20},
                                                                   {"2mb", 2 << 20},
                                                                   {"2 Mi", 2 << 20},
                                                                   {"1PiB", 0},
                                                                   {"1024T", uint64_t{1} << 50U}}) {
    auto parsed = Parse({"--max-memory", text});
    ASSERT_EQ(parsed.ok(), bytes != 0) << text;
    if (bytes != 0) {
      EXPECT_EQ(parsed->settings.server.max_memory_bytes, bytes) << text;
    }
  }
}

// Zero means no time at all or no limit, depending on the flag.
TEST(Flags, ZeroSeconds) {
  auto parsed = Parse({"--handshake-timeout=0", "--header-wait=0.0", "--idle-stream=0e5",
                       "--max-connection-age-grace=00", "--shutdown-grace=0", "--drain-timeout=0"});
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  const Settings& settings = parsed->settings;
  EXPECT_EQ(settings.server.handshake_timeout, absl::InfiniteDuration());
  EXPECT_EQ(settings.server.header_wait, absl::InfiniteDuration());
  EXPECT_EQ(settings.server.idle_stream, absl::InfiniteDuration());
  EXPECT_EQ(settings.server.max_connection_age_grace, absl::InfiniteDuration());
  EXPECT_EQ(settings.shutdown_grace, absl::ZeroDuration());
  EXPECT_EQ(settings.drain_timeout, absl::ZeroDuration());
}

TEST(Flags, Switches) {
  for (const char* off : {"--no-reflection", "--reflection=false", "--reflection=0",
                          "--reflection=Off", "--reflection=no"}) {
    auto parsed = Parse({off});
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_FALSE(parsed->settings.server.reflection) << off;
  }
  EXPECT_TRUE(Parse({"--reflection"})->settings.server.reflection);
  EXPECT_FALSE(Parse({}, {"LOSSD_REFLECTION=false"})->settings.server.reflection);
}

TEST(Flags, HelpAndVersionComeFirst) {
  EXPECT_EQ(Parse({"--threads", "3", "--help"})->action, Invocation::Action::kShowHelp);
  EXPECT_EQ(Parse({"-h"}, {"LOSSD_THREADS=x"})->action, Invocation::Action::kShowHelp);
  EXPECT_EQ(Parse({"--version"})->action, Invocation::Action::kShowVersion);
}

struct Mistake {
  Strings arguments;
  Strings environment;
  std::string file;  ///< Content of the file f; if not empty, --config f is given.
  std::string words;
};

void ExpectRefused(const Mistake& mistake) {
  Strings arguments = mistake.arguments;
  if (!mistake.file.empty()) arguments.insert(arguments.end(), {"--config", "f"});
  const auto parsed = Parse(arguments, mistake.environment, {{"f", mistake.file}});
  ASSERT_FALSE(parsed.ok()) << mistake.words;
  const std::string message(parsed.status().message());
  EXPECT_TRUE(absl::StrContains(message, mistake.words)) << message << "\nwanted " << mistake.words;
  EXPECT_FALSE(absl::StrContains(message, '\n')) << message;
}

TEST(Flags, MistypedNames) {
  const std::vector<Mistake> mistakes = {
      {{"--max_memory", "1GiB"}, {}, "", "--max_memory: unknown flag; did you mean --max-memory?"},
      {{"--Threads=3"}, {}, "", "did you mean --threads?"},
      {{"--thread", "3"}, {}, "", "did you mean --threads?"},
      {{"--memory=1GiB"}, {}, "", "did you mean --max-memory?"},
      {{"-threads", "3"}, {}, "", "-threads: unknown flag; did you mean --threads?"},
      {{"-l", "a:1"}, {}, "", "-l: unknown flag; lossd --help lists them all"},
      {{"--lisen", "a:1"}, {}, "", "did you mean --listen?"},
      {{"--conf=f"}, {}, "", "did you mean --config?"},
      {{"--versoin"}, {}, "", "did you mean --version?"},
      {{"--no-threads"}, {}, "", "--no-threads: unknown flag"},
      {{"--no-reflection=false"},
       {},
       "",
       "--no-reflection: unknown flag; did you mean --reflection?"},
      {{"--verbose"}, {}, "", "--verbose: unknown flag"},
      {{"--"}, {}, "", "unknown flag"},
      {{"serve"}, {}, "", "\"serve\": expected a flag"},
      {{"--reflection", "false"}, {}, "", "\"false\": expected a flag"},
      {{""}, {}, "", "\"\": expected a flag"},
      {{"--threads"},
       {},
       "",
       "--threads: expected a whole number from 0 to 1024 after it, got nothing"},
      {{"--listen", "--threads=3"}, {}, "", "--listen: expected HOST:PORT"},
      {{"--config"}, {}, "", "--config: expected a file"},
      {{"--threads=1", "--threads=2"}, {}, "", "--threads: expected once, got twice"},
      {{"--config=f", "--config=f"}, {}, "", "--config: expected once"},
      {{}, {}, "max_memory = \"64MiB\"", "f:1: max_memory: unknown; did you mean max-memory?"},
      {{}, {}, "\n\n[server]\nthreads = 7", "f:3: expected KEY = VALUE; there are no tables"},
      {{}, {}, "server.threads = 7", "f:1: server.threads: unknown"},
      {{}, {}, "config = 'g'", "f:1: config: unknown"},
      {{}, {}, "threads = 1\n threads = 2", "f:2: threads: given before"},
      {{}, {}, "--threads = 1", "f:1: --threads: unknown; did you mean threads?"},
  };
  for (const Mistake& mistake : mistakes) ExpectRefused(mistake);
}

TEST(Flags, MistypedValues) {
  const std::vector<Mistake> mistakes = {
      {{"--threads=-1"}, {}, "", "--threads: expected a whole number from 0 to 1024, got \"-1\""},
      {{"--threads", "-1"}, {}, "", "got \"-1\""},
      {{"--threads=1025"}, {}, "", "from 0 to 1024"},
      {{"--threads=many"}, {}, "", "got \"many\""},
      {{"--threads=2.0"}, {}, "", "got \"2.0\""},
      {{"--threads=1e2"}, {}, "", "got \"1e2\""},
      {{"--threads=0x10"}, {}, "", "got \"0x10\""},
      {{"--threads=+4"}, {}, "", "got \"+4\""},
      {{"--threads= 4"}, {}, "", "got \" 4\""},
      {{"--threads="}, {}, "", "got nothing"},
      {{"--threads=18446744073709551620"}, {}, "", "got \"18446744073709551620\""},
      {{},
       {"LOSSD_THREADS="},
       "",
       "LOSSD_THREADS: expected a whole number from 0 to 1024, got nothing"},
      {{}, {"LOSSD_THREADS=4\r"}, "", "got \"4\\r\""},
      {{"--threads=5"}, {"LOSSD_THREADS=x"}, "", "LOSSD_THREADS: "},
      {{"--max-memory", "-1"},
       {},
       "",
       "--max-memory: expected bytes from 1MiB to 1024TiB, such as 512MiB, got \"-1\""},
      {{"--max-memory=64"}, {}, "", "from 1MiB"},
      {{"--max-memory=0"}, {}, "", "from 1MiB"},
      {{"--max-memory=1.5GiB"}, {}, "", "got \"1.5GiB\""},
      {{"--max-memory=512Mb/s"}, {}, "", "got \"512Mb/s\""},
      {{"--max-memory=GiB"}, {}, "", "got \"GiB\""},
      {{"--max-memory=99999999999GiB"}, {}, "", "got \"99999999999GiB\""},
      {{"--max-memory=18446744073709551616"}, {}, "", "got \"18446744073709551616\""},
      {{"--max-memory=nan"}, {}, "", "got \"nan\""},
      {{"--max-memory=unlimited"}, {}, "", "got \"unlimited\""},
      {{"--max-message-bytes=2GiB"}, {}, "", "from 64KiB to 1GiB"},
      {{"--max-label-bytes=0"}, {}, "", "expected bytes from 1 "},
      {{"--max-concurrent-streams=0"}, {}, "", "from 1 to 100000"},
      {{"--max-rank=0"}, {}, "", "from 1 to 1024"},
      {{"--max-classes=0"}, {}, "", "from 1 to 1073741824"},
      {{"--max-positions=-5"}, {}, "", "from 1 to 1125899906842624"},
      {{"--idle-stream=-1"},
       {},
       "",
       "--idle-stream: expected seconds from 0.001 to 1000000, or 0 for no limit, got \"-1\""},
      {{"--idle-stream=nan"}, {}, "", "got \"nan\""},
      {{"--idle-stream=inf"}, {}, "", "got \"inf\""},
      {{"--idle-stream=-0"}, {}, "", "got \"-0\""},
      {{"--idle-stream=1e400"}, {}, "", "got \"1e400\""},
      {{"--idle-stream=1e-400"}, {}, "", "got \"1e-400\""},
      {{"--idle-stream=0.0001"}, {}, "", "got \"0.0001\""},
      {{"--idle-stream=10s"}, {}, "", "got \"10s\""},
      {{"--idle-stream=1m"}, {}, "", "got \"1m\""},
      {{"--idle-stream=0x1p3"}, {}, "", "got \"0x1p3\""},
      {{"--header-wait=1,5"}, {}, "", "got \"1,5\""},
      {{"--shutdown-grace=nan"},
       {},
       "",
       "--shutdown-grace: expected seconds from 0.001 to 3600, or 0, got \"nan\""},
      {{"--drain-timeout=3601"}, {}, "", "to 3600"},
      {{"--reflection=maybe"}, {}, "", "--reflection: expected true or false"},
      {{}, {"LOSSD_REFLECTION="}, "", "LOSSD_REFLECTION: expected true or false, got nothing"},
      {{"--log-level=trace"},
       {},
       "",
       "expected one of debug, info, warn, error, off, got \"trace\""},
      {{"--log-level=INFO"}, {}, "", "got \"INFO\""},
  };
  for (const Mistake& mistake : mistakes) ExpectRefused(mistake);
}

TEST(Flags, MistypedAddresses) {
  const std::vector<Mistake> mistakes = {
      {{"--listen=50051"}, {}, "", "--listen: expected HOST:PORT or unix:PATH, got \"50051\""},
      {{"--listen=:50051"}, {}, "", "without a host (0.0.0.0: all interfaces)"},
      {{"--listen=localhost"}, {}, "", "got \"localhost\""},
      {{"--listen=localhost:"}, {}, "", "whose port is not a number"},
      {{"--listen=localhost:http"}, {}, "", "whose port is not a number"},
      {{"--listen=localhost:65536"}, {}, "", "from 0 to 65535"},
      {{"--listen=localhost:-1"}, {}, "", "from 0 to 65535"},
      {{"--listen=localhost:+5"}, {}, "", "from 0 to 65535"},
      {{"--listen=http://localhost:80"}, {}, "", "an IPv6 host goes in brackets"},
      {{"--listen=::1:80"}, {}, "", "an IPv6 host goes in brackets"},
      {{"--listen=[::1:80"}, {}, "", "expected HOST:PORT"},
      {{"--listen=[]:80"}, {}, "", "expected HOST:PORT"},
      {{"--listen=//localhost:80"}, {}, "", "expected HOST:PORT"},
      {{"--listen=a:1,"}, {}, "", "got nothing"},
      {{"--listen="}, {}, "", "got nothing"},
      {{"--listen=a:1", "--listen=a:1"}, {}, "", "got a:1 twice"},
      {{"--listen=unix:"}, {}, "", "a path of 1 to 107 bytes"},
      {{absl::StrCat("--listen=unix:/", std::string(107, 'x'))},
       {},
       "",
       "a path of 1 to 107 bytes"},
      {{}, {"LOSSD_LISTEN="}, "", "LOSSD_LISTEN: expected HOST:PORT"},
      {{}, {}, "listen = []", "f:1: listen: expected at least one address"},
      {{},
       {},
       "listen = 50051",
       "f:1: listen: expected HOST:PORT or unix:PATH, got the number 50051"},
  };
  for (const Mistake& mistake : mistakes) ExpectRefused(mistake);
  auto parsed = Parse({"--listen", "[::1]:0, unix:/a b", "--listen=x:0", "--listen=x:0"});
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->settings.server.listen, (Strings{"[::1]:0", "unix:/a b", "x:0", "x:0"}));
}

TEST(Flags, MistypedFiles) {
  const std::vector<Mistake> mistakes = {
      {{},
       {},
       "threads = \"7\"",
       "f:1: threads: expected a whole number from 0 to 1024, got the string 7"},
      {{}, {}, "threads = 7.0", "got the number 7.0"},
      {{}, {}, "threads = [7]", "got an array"},
      {{}, {}, "threads = true", "got the boolean true"},
      {{}, {}, "threads = -1", "got \"-1\""},
      {{},
       {},
       "threads = 0x7",
       "expected a string in quotes, a number, true, false, or an array of them, got 0x7"},
      {{}, {}, "max-memory = 2GiB", "f:1: max-memory: expected a string in quotes"},
      {{}, {}, "max-memory = 2e9", "got the number 2e9"},
      {{}, {}, "max-memory = ''", "got nothing"},
      {{}, {}, "idle-stream = nan", "got \"nan\""},
      {{}, {}, "idle-stream = -inf", "got \"-inf\""},
      {{}, {}, "idle-stream = \"60\"", "got the string 60"},
      {{}, {}, "reflection = \"false\"", "expected true or false, got the string false"},
      {{}, {}, "reflection = 0", "got the number 0"},
      {{}, {}, "reflection = False", "got False"},
      {{}, {}, "log-level = info", "got info"},
      {{}, {}, "threads", "f:1: expected KEY = VALUE"},
      {{}, {}, "threads: 7", "f:1: expected KEY = VALUE"},
      {{}, {}, "= 7", "f:1: expected KEY = VALUE"},
      {{}, {}, "threads =", "f:1: threads: expected a string in quotes"},
      {{}, {}, "threads = 7 8", "f:1: threads: expected the end of the line"},
      {{}, {}, "log-level = 'info", "closing quote"},
      {{}, {}, "log-level = \"info\\", "closing quote"},
      {{}, {}, "log-level = \"\\q\"", "backslashes"},
      {{}, {}, "listen = ['a:1' 'b:1']", "expected , or ]"},
      {{}, {}, "listen = ['a:1',\n\n", "f:3: listen: expected a string in quotes"},
      {{}, {}, "{\"threads\": 7}", "f:1: expected KEY = VALUE"},
      {{"--config=g"}, {}, "", "--config: cannot read g: No such file"},
      {{"--config="}, {}, "", "--config: expected a file, got nothing"},
      {{},
       {"LOSSD_CONFIG=/nonexistent"},
       "",
       "LOSSD_CONFIG: cannot read /nonexistent: No such file"},
      {{}, {"LOSSD_CONFIG="}, "", "LOSSD_CONFIG: expected a file, got nothing"},
  };
  for (const Mistake& mistake : mistakes) ExpectRefused(mistake);
}

TEST(Flags, VariablesThatNothingKnowsAreWarnings) {
  const auto parsed =
      Parse({}, {"LOSSD_MAXMEMORY=1GiB", "LOSSD_ADDRESS=a:1", "LOSSD_BIN=x", "LOSSD_FULL=1",
                 "LOSSD_SERVER=a:1", "LOSSD_PORT=tcp://10.0.0.1:50051",
                 "LOSSD_SERVICE_HOST=10.0.0.1", "LOSSD_QUUX=1", "PATH=/bin", "lossd_threads=x"});
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(
      parsed->warnings,
      (Strings{"LOSSD_MAXMEMORY: unknown variable, left alone; did you mean LOSSD_MAX_MEMORY?",
               "LOSSD_QUUX: unknown variable, left alone; lossd --help lists them all"}));
}

TEST(Flags, FilesOfTheSystem) {
  EXPECT_TRUE(absl::StrContains(ReadSmallFile("/nonexistent").status().message(), "No such file"));
  EXPECT_TRUE(absl::StrContains(ReadSmallFile("/").status().message(), "directory"));
  EXPECT_TRUE(absl::StrContains(ReadSmallFile("/dev/zero").status().message(), "1 MiB"));
  EXPECT_EQ(*ReadSmallFile("/dev/null"), "");
}

}  // namespace
}  // namespace lossd
