// Converts between wire and core summaries.
#ifndef LOSSD_PROTO_CODEC_SUMMARY_CODEC_H_
#define LOSSD_PROTO_CODEC_SUMMARY_CODEC_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/sums/summary.h"
#include "lossd/v1/criterion.pb.h"

namespace lossd {

void ToWire(const Summary& summary, v1::Summary* wire);

/// The summary in a server's reply. INVALID_ARGUMENT if it cannot be decoded; field paths begin
/// with `field`.
absl::StatusOr<Summary> DecodeSummary(const v1::Summary& wire, absl::string_view field);

/// The summary in a request. INVALID_ARGUMENT also if no problem can have it (see CheckSummary).
absl::StatusOr<Summary> ParseSummary(const v1::Summary& wire, absl::string_view field);

}  // namespace lossd

#endif  // LOSSD_PROTO_CODEC_SUMMARY_CODEC_H_
