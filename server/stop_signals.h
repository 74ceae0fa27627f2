// SIGTERM and SIGINT: the first one asks the server to end, a second one ends the process.
#ifndef LOSSD_SERVER_STOP_SIGNALS_H_
#define LOSSD_SERVER_STOP_SIGNALS_H_

namespace lossd {

/// From now on either signal ends the process at once, with status 128 + its number. (By default it
/// would too, but not for the first process of a container.) The signals are never blocked, so that
/// they also end a start that hangs. Throws std::system_error.
void WatchStopSignals();

/// From now on the first signal is kept for WaitForStopSignal; the next one ends the process at
/// once.
void KeepFirstStopSignal();

/// Waits for the kept signal, and returns its number.
int WaitForStopSignal();

}  // namespace lossd

#endif  // LOSSD_SERVER_STOP_SIGNALS_H_
