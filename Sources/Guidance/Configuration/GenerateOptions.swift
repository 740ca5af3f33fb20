import Tensor

/// One request's options, apart from its guidance.
package struct GenerateOptions {
  package var maximumTokens = 128
  package var seed: UInt64 = 0
  package var sampling = SamplingOptions()
  package var ignoresEnd = false
  package var keepsAttribution = false
  /// How many alternatives a step of a single row reports.
  package var topLogProbabilities = 0
  /// For the base model; nil: the bare prompt.
  package var template: [UInt8]?
  package var stopStrings: [[UInt8]] = []
  package var endTokens: [Int32] = []
  package var bannedTokens: [Int32] = []
  package var processor: LogitsProcessor?

  package init() {}

  /// Throws `.invalidArgument` naming the field, its value and the bound.
  package func check(vocabularySize: Int) throws(IVGError) {
    guard maximumTokens >= 1 else {
      throw IVGError(.invalidArgument, "max_tokens is \(maximumTokens); it must be at least 1")
    }
    guard (0...64).contains(topLogProbabilities) else {
      throw IVGError(
        .invalidArgument,
        "top_log_probabilities is \(topLogProbabilities); it must be within 0...64")
    }
    for (name, tokens) in [("end_tokens", endTokens), ("banned_tokens", bannedTokens)] {
      if let odd = tokens.first(where: { $0 < 0 || Int($0) >= vocabularySize }) {
        throw IVGError(
          .invalidArgument,
          "\(name) holds \(odd); the vocabulary has the ids 0...\(vocabularySize - 1)")
      }
    }
    if stopStrings.contains(where: \.isEmpty) {
      throw IVGError(.invalidArgument, "stop_strings holds an empty string")
    }
    try sampling.check()
  }
}

/// How a token is drawn from logits.
package struct SamplingOptions: Sendable {
  /// 0: always the most probable token; nil: 0.7, or 0 where the method knows nothing else.
  package var temperature: Float?
  /// nil: the whole vocabulary.
  package var topK: Int? = 50
  package var topP: Float = 1
  package var minP: Float = 0
  package var repetitionPenalty: Float = 1

  package init() {}

  func check() throws(IVGError) {
    let bounds: [(String, Float, ClosedRange<Float>)] = [
      ("temperature", temperature ?? 0.7, 0...1000), ("top_p", topP, 0...1), ("min_p", minP, 0...1),
      ("repetition_penalty", repetitionPenalty, 0.01...100),
    ]
    for (name, value, range) in bounds where !range.contains(value) {
      throw IVGError(
        .invalidArgument,
        "\(name) is \(value); it must be within \(range.lowerBound)...\(range.upperBound)")
    }
    if let topK, topK < 1 {
      throw IVGError(.invalidArgument, "top_k is \(topK); it must be at least 1")
    }
  }
}

/// The host's own step in sampling: may change one row's logits in place. False reports failure.
package typealias LogitsProcessor = (
  _ row: Int, _ tokens: UnsafeBufferPointer<Int32>, _ logits: UnsafeMutableBufferPointer<Float>
) -> Bool
