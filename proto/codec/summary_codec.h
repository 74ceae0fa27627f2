// Between wire and core summaries.
#ifndef LOSSD_PROTO_CODEC_SUMMARY_CODEC_H_
#define LOSSD_PROTO_CODEC_SUMMARY_CODEC_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/sums/summary.h"
#include "lossd/v1/criterion.pb.h"

namespace lossd {

void ToWire(const Summary& summary, v1::Summary* wire);

/// A summary of a server's answer. INVALID_ARGUMENT where it is none; field paths begin with
/// `field`.
absl::StatusOr<Summary> DecodeSummary(const v1::Summary& wire, absl::string_view field);

/// A summary of a request: INVALID_ARGUMENT also where no problem can have given it (CheckSummary).
absl::StatusOr<Summary> ParseSummary(const v1::Summary& wire, absl::string_view field);

}  // namespace lossd

#endif  // LOSSD_PROTO_CODEC_SUMMARY_CODEC_H_
