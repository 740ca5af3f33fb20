import Tensor
import Tokenizer
import Transformer

/// The most probable next token.
struct Prediction {
  var token: Int32
  /// At temperature 1, among the tokens that may be drawn.
  var logProbability: Double
  /// Whether the side ends its text with it.
  var isEnd: Bool
}

/// One of the two models of nudging under its own prompt: what it holds of the text, and what it says
/// comes next.
///
/// The two exchange text only; each cuts it into tokens of its own (`SettledText`) and keeps of its keys
/// and values what the new tokens have in common with those it held.
final class NudgingSide {
  /// Contexts that are asked about in one pass.
  static let groupLimit = 16
  /// Tokens that a fork of such a pass may read beside what it shares; longer ones get a pass of their own.
  static let forkTokens = 64

  let model: LanguageModel
  let adapter: Adapter?
  let prompt: [Int32]
  /// Most tokens of prompt and answer, as memory was planned.
  let tokenLimit: Int
  let engine: Engine?
  let sequence: SequenceID?
  /// Tokens of the sequence.
  var held: [Int32] = []
  /// What was found to follow each of them: a draft that the other side goes on with is not computed again.
  var known: [Prediction?] = []
  private(set) var reusedCount = 0
  private var answer = SettledText()
  let endTokens: [Int32]
  let masked: [Int32]
  let hostedLogits: AlignedBuffer<Float>?  // [groupLimit, vocabulary]
  let cancel: CancelFlag

  /// Throws `.outOfMemory`.
  init(
    _ plan: Request.TrackPlan, _ options: GenerateOptions, tokenLimit: Int, engine: Engine?,
    cancel: CancelFlag
  ) throws(IVGError) {
    model = plan.model
    adapter = plan.adapter
    prompt = plan.prompt
    self.tokenLimit = tokenLimit
    self.engine = engine
    self.cancel = cancel
    let tokenizer = model.tokenizer
    endTokens =
      options.ignoresEnd ? [] : tokenizer.endTokens + (plan.isTextual ? [] : options.endTokens)
    masked =
      (plan.isTextual ? [] : options.bannedTokens)
      + (0..<Int32(model.usableTokenCount)).filter { !tokenizer.isReal($0) }
    hostedLogits =
      engine == nil ? try AlignedBuffer(count: Self.groupLimit * tokenizer.vocabularySize) : nil
    sequence = engine?.makeSequence(
      adapter: plan.adapter, longest: plan.prompt.count + options.maximumTokens)
    held.reserveCapacity(tokenLimit)
    known.reserveCapacity(tokenLimit)
  }

  deinit { if let engine, let sequence { engine.removeSequence(sequence) } }

  // MARK: Text

  /// The text of a token as the answer gets it: none for an end token or structure.
  func text(of prediction: Prediction) -> UnsafeRawBufferPointer {
    let isHidden = prediction.isEnd || model.tokenizer.isControl(prediction.token)
    return isHidden
      ? UnsafeRawBufferPointer(start: nil, count: 0) : model.tokenizer.bytes(of: prediction.token)
  }

  /// The tokens of the prompt and of an answer that goes on from what was settled.
  func context(_ text: ArraySlice<UInt8>) throws(IVGError) -> [Int32] {
    prompt + (try answer.tokens(of: text, with: model.tokenizer))
  }

  /// Takes note that the answer begins with `text`.
  func settle(_ text: [UInt8]) throws(IVGError) { try answer.settle(text, with: model.tokenizer) }

  // MARK: Prefixes

  func reusePrefixes(_ prefixes: PrefixCache) {
    guard let engine, let sequence else { return }
    reusedCount = prefixes.reuse(for: prompt, in: sequence, on: engine, adapter)
    held = Array(prompt[..<reusedCount])
    known = [Prediction?](repeating: nil, count: reusedCount)
  }

  func keepPrefixes(in prefixes: inout PrefixCache) {
    guard let engine, let sequence, !held.isEmpty else { return }
    prefixes.keep(held, of: sequence, on: engine, adapter)
  }
}
