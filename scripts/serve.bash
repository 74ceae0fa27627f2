# shellcheck shell=bash
# For scripts to source: a server of their own. `end_server` belongs into their traps.
server=''
end_server() {
  [ -n "$server" ] || return 0
  kill "$server" 2> /dev/null || true
  wait "$server" 2> /dev/null || true
}
# serve BIN_DIRECTORY ADDRESS LOG: starts lossd with its log in that file. Sets `server`, its process, and
# `address`, where it listens. Where it does not serve within 10 s: its log, and status 1.
serve() {
  local log=$3
  "$1/lossd" --listen "$2" 2> "$log" &
  server=$!
  address=
  for _ in $(seq 200); do
    address=$(sed -n 's/.*state=serving.* listen=\([0-9.:]*\) .*/\1/p' "$log")
    [ -z "$address" ] || return 0
    kill -0 "$server" 2> /dev/null || break
    sleep 0.05
  done
  cat "$log" >&2
  return 1
}
