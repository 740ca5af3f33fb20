import Tensor
import Transformer

/// What a run trains, on what, and how: `ivg_trainer_options` with its defaults filled in.
package struct TrainerOptions: Sendable {
  package var objective = Objective.preference
  /// nil: the objective's first.
  package var loss: LossKind?
  package var trainsHeadOnly = false
  package var appendsEnd = true
  package var isStrict = false
  package var hasVocabularyHead = false
  package var keepsRate = false
  package var dataPath = ""
  package var evaluationPath: String?
  package var startPath: String?
  package var checkpointPath: String?
  package var promptTemplate: [UInt8]?
  package var evaluationFraction = 0.0
  package var epochs = 1.0
  package var maximumSteps: Int?
  package var seed: UInt64 = 0
  package var memoryBudget = 1 << 30
  package var threadCount = 1
  package var batchSize = 16
  package var maximumTokens: Int?
  package var maximumPromptTokens: Int?
  package var rank = 8
  package var projections = Set(Projection.allCases)
  package var alpha: Float?
  package var dropout: Float = 0
  package var learningRate: Float?
  package var warmupFraction: Float = 0.1
  package var weightDecay: Float = 0
  package var beta1: Float = 0.9
  package var beta2: Float = 0.999
  package var clipNorm: Float? = 1
  package var beta: Float = 0.1
  package var labelSmoothing: Float = 0
  package var evaluateEvery: Int?
  package var patience: Int?
  package var checkpointEvery = 50

  package init() {}

  /// Whether an adapter is trained.
  var hasAdapter: Bool {
    objective == .supervised || objective == .preference || !trainsHeadOnly
  }
  /// Whether a head is trained.
  var hasHead: Bool { objective == .reward || objective == .value }

  /// Checks every bound.
  ///
  /// Throws `.invalidArgument` naming the option and its bound.
  func check() throws(IVGError) {
    func within<T: FloatingPoint>(_ name: String, _ value: T, _ bounds: ClosedRange<T>)
      throws(IVGError)
    {
      guard bounds.contains(value) else {
        throw IVGError(
          .invalidArgument,
          "\(name) is \(value), must be within \(bounds.lowerBound) ... \(bounds.upperBound)")
      }
    }
    guard !dataPath.isEmpty else {
      throw IVGError(.invalidArgument, "data_path is required")
    }
    if let loss, !objective.losses.contains(loss) {
      throw IVGError(
        .invalidArgument,
        "loss \(loss.rawValue) is none of objective \(objective.rawValue)'s: "
          + "\(objective.losses.map { String($0.rawValue) }.joined(separator: ", "))")
    }
    if trainsHeadOnly, !hasHead {
      throw IVGError(
        .invalidArgument, "IVG_TRAINER_HEAD_ONLY needs an objective with a head: reward or value")
    }
    if hasVocabularyHead, objective != .value {
      throw IVGError(
        .invalidArgument, "IVG_TRAINER_VOCABULARY_HEAD needs the objective value")
    }
    try within("evaluation_fraction", evaluationFraction, 0...0.9)
    if evaluationPath != nil, evaluationFraction > 0 {
      throw IVGError(
        .invalidArgument, "evaluation_path and evaluation_fraction exclude each other")
    }
    try within("epochs", epochs, 1e-6...1e6)
    try within("batch_size", Double(batchSize), 1...4096)
    try within("max_tokens", Double(maximumTokens ?? 512), 2...1e6)
    try within("max_prompt_tokens", Double(maximumPromptTokens ?? 1), 1...1e6)
    try within("rank", Double(rank), 1...256)
    try within("thread_count", Double(threadCount), 1...1024)
    guard !projections.isEmpty || !hasAdapter else {
      throw IVGError(.invalidArgument, "projections names none")
    }
    try within("alpha", alpha ?? 1, 1e-6...1e6)
    try within("dropout", dropout, 0...0.9)
    try within("learning_rate", learningRate ?? 1e-4, 1e-12...10)
    try within("warmup_fraction", warmupFraction, 0...1)
    try within("weight_decay", weightDecay, 0...10)
    try within("beta1", beta1, 0...0.9999)
    try within("beta2", beta2, 0...0.99999)
    try within("clip_norm", clipNorm ?? 1, 1e-6...1e9)
    try within("beta", beta, 1e-6...1e4)
    try within("label_smoothing", labelSmoothing, 0...0.499)
    if labelSmoothing > 0, objective != .preference || loss == .identity {
      throw IVGError(
        .invalidArgument, "label_smoothing needs the objective preference and another loss than IPO"
      )
    }
    if dropout > 0, !hasAdapter {
      throw IVGError(.invalidArgument, "dropout needs an adapter")
    }
    if patience != nil, evaluationPath == nil, evaluationFraction == 0 {
      throw IVGError(
        .invalidArgument, "patience needs evaluation_path or evaluation_fraction")
    }
  }
}
