import CIVGKernels
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

/// One of the two models of nudging under its own prompt: what it holds of the text, and what it says comes next.
///
/// The two exchange text only; each cuts it into tokens of its own (`AnswerTokens`) and keeps of its keys and
/// values what the new tokens have in common with those it held.
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
  private let sequence: SequenceID?
  /// Tokens of the sequence.
  private(set) var held: [Int32] = []
  private(set) var reusedCount = 0
  private var answer: AnswerTokens
  private let endTokens: [Int32]
  private let masked: [Int32]
  private let hostedLogits: AlignedBuffer<Float>?  // [groupLimit, vocabulary]
  private let cancel: CancelFlag

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
    answer = AnswerTokens(tokenizer)
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
    prompt + (try answer.tokens(of: text))
  }

  /// Takes note that the answer begins with `text`.
  func settle(_ text: [UInt8]) throws(IVGError) { try answer.settle(text) }

  // MARK: Prefixes

  func reusePrefixes(_ prefixes: PrefixCache) {
    guard let engine, let sequence else { return }
    reusedCount = prefixes.reuse(for: prompt, in: sequence, on: engine, adapter)
    held = Array(prompt[..<reusedCount])
  }

  func keepPrefixes(in prefixes: inout PrefixCache) {
    guard let engine, let sequence, !held.isEmpty else { return }
    prefixes.keep(held, of: sequence, on: engine, adapter)
  }

  // MARK: Predicting

  /// What comes next after a context.
  func predict(_ context: [Int32]) throws(IVGError) -> Prediction { try predict([context])[0] }

  /// What comes next after each of up to `groupLimit` contexts, the longest last: in one pass.
  ///
  /// Throws `.cancelled`, after which it may be repeated, `.contextFull`, `.callback`, `.corruptFile`.
  func predict(_ contexts: [[Int32]]) throws(IVGError) -> [Prediction] {
    for context in contexts where context.count > tokenLimit {
      throw IVGError(
        .contextFull,
        "\(model.label): prompt and text have \(context.count) tokens; with this max_tokens, and within "
          + "the context, they may have \(tokenLimit)")
    }
    guard let engine, let sequence else { return try predictHosted(contexts) }
    let main = contexts[contexts.count - 1]
    /// The rows of the engine's logits that answer the contexts.
    var rows = [Int](repeating: -1, count: contexts.count)
    var forks: [(sequence: SequenceID, index: Int)] = []
    defer { for fork in forks { engine.removeSequence(fork.sequence) } }
    var first = main.count
    for (index, context) in contexts.enumerated() {
      if main.starts(with: context) {
        first = min(first, context.count)
        continue
      }
      let common = common(context)
      guard context.count - common <= Self.forkTokens else { return try predictApart(contexts) }
      let fork = engine.makeSequence(adapter: adapter)
      forks.append((fork, index))
      engine.copy(sequence, to: fork)
      engine.truncate(fork, to: common)
    }
    let kept = min(common(main), first - 1)
    engine.truncate(sequence, to: kept)
    held.removeLast(held.count - kept)
    for position in kept..<main.count {
      try engine.append(main[position], to: sequence)
      let asked = contexts.indices.filter {
        contexts[$0].count == position + 1 && main.starts(with: contexts[$0])
      }
      if asked.isEmpty { continue }
      let row = engine.wantLogits()
      for index in asked { rows[index] = row }
    }
    for fork in forks {
      for token in contexts[fork.index][engine.length(fork.sequence)...] {
        try engine.append(token, to: fork.sequence)
      }
      rows[fork.index] = engine.wantLogits()
    }
    try engine.run(cancel: cancel)
    held += main[kept...]
    return try rows.map { row throws(IVGError) in try prediction(engine.logits(row: row)) }
  }

  /// Tokens of a context that the sequence holds, at most all but the last, whose logits are wanted.
  private func common(_ context: [Int32]) -> Int {
    let end = min(held.count, context.count - 1)
    var common = 0
    while common < end, held[common] == context[common] { common += 1 }
    return common
  }

  private func predictApart(_ contexts: [[Int32]]) throws(IVGError) -> [Prediction] {
    var predictions: [Prediction] = []
    for context in contexts { predictions.append(try predict(context)) }
    return predictions
  }

  private func predictHosted(_ contexts: [[Int32]]) throws(IVGError) -> [Prediction] {
    guard case .hosted(let host) = model.source, let hostedLogits else { return [] }
    if cancel.isRaised { throw IVGError(.cancelled, "cancelled") }
    let size = model.tokenizer.vocabularySize
    // One flat copy, so that the pointers hold for the whole call.
    let flat = contexts.flatMap { $0 }
    let succeeded = flat.withUnsafeBufferPointer { flat in
      var start = 0
      var requests: [HostedModel.Row] = []
      for (index, context) in contexts.enumerated() {
        requests.append(
          HostedModel.Row(
            tokens: flat.baseAddress! + start, tokenCount: context.count,
            logits: hostedLogits.pointer + index * size))
        start += context.count
      }
      return host.compute(requests, size)
    }
    guard succeeded else {
      throw IVGError(.callback, "the hosted model's callback reported failure")
    }
    var predictions: [Prediction] = []
    for index in contexts.indices {
      predictions.append(try prediction(hostedLogits.pointer + index * size))
    }
    return predictions
  }

  /// The best of a row of logits, which are changed: what may not be drawn becomes −infinity.
  private func prediction(_ logits: UnsafeMutablePointer<Float>) throws(IVGError) -> Prediction {
    let table = Kernels.current.table.pointee
    let count = model.usableTokenCount
    for token in masked where Int(token) < count { logits[Int(token)] = -.infinity }
    let total = table.log_sum_exp(logits, count)
    guard !total.isNaN, total < .infinity else { throw model.damaged() }
    let best = table.argmax(logits, count)
    guard logits[best] > -.infinity else {
      throw IVGError(.invalidArgument, "\(model.label): no token is left to draw: bans exclude all")
    }
    let token = Int32(best)
    return Prediction(
      token: token, logProbability: Double(logits[best]) - total, isEnd: endTokens.contains(token))
  }
}
