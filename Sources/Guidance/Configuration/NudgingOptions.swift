import Tensor

/// Nudging (arXiv 2410.09300): where the base is not sure, a small model writes the next words.
package struct NudgingOptions {
  /// The small model, perhaps with an adapter, under its own prompt template.
  package let nudger: Guide
  /// γ: the base is nudged where its top-1 probability is below.
  package let threshold: Double
  /// Tokens of one side in a round.
  package let burst: Int
  package let maximumRounds: Int

  /// Most tokens of a burst.
  package static let burstLimit = 1024

  /// Throws `.invalidArgument` naming the field and the bound.
  package init(nudger: Guide, threshold: Double = 0.3, burst: Int = 16, maximumRounds: Int = 150)
    throws(IVGError)
  {
    guard nudger.model != nil else {
      throw IVGError(.invalidArgument, "nudging needs a nudger: a model, or an adapter")
    }
    guard threshold.isFinite, threshold >= 0 else {
      throw IVGError(
        .invalidArgument, "threshold is \(threshold); it must be finite and at least 0")
    }
    guard (1...Self.burstLimit).contains(burst) else {
      throw IVGError(
        .invalidArgument, "burst is \(burst); it must be within 1...\(Self.burstLimit)")
    }
    guard maximumRounds >= 1 else {
      throw IVGError(.invalidArgument, "max_rounds is \(maximumRounds); it must be at least 1")
    }
    self.nudger = nudger
    self.threshold = threshold
    self.burst = burst
    self.maximumRounds = maximumRounds
  }

  /// Throws `.invalidArgument` naming what asks for another way of drawing: nudging is greedy, and its text
  /// is not one model's row of tokens.
  func check(_ options: GenerateOptions) throws(IVGError) {
    let sampling = options.sampling
    let plain = SamplingOptions()
    let others: [(String, Bool)] = [
      ("temperature", (sampling.temperature ?? 0) != 0), ("top_k", sampling.topK != plain.topK),
      ("top_p", sampling.topP != plain.topP), ("min_p", sampling.minP != plain.minP),
      ("repetition_penalty", sampling.repetitionPenalty != plain.repetitionPenalty),
      ("logits_processor", options.processor != nil),
      ("top_log_probabilities", options.topLogProbabilities != 0),
      ("IVG_GENERATE_ATTRIBUTION", options.keepsAttribution),
    ]
    if let (name, _) = others.first(where: \.1) {
      throw IVGError(
        .invalidArgument, "\(name) is set; nudging always takes the most probable token")
    }
  }
}
