import CIVGKernels
import Tensor
import Transformer

/// What a side says comes next.
extension NudgingSide {
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
    if let found = recall(contexts) { return found }
    let main = contexts[contexts.count - 1]
    var forks: [Fork] = []
    defer { for fork in forks { engine.removeSequence(fork.sequence) } }
    for (index, context) in contexts.enumerated() where !main.starts(with: context) {
      let common = common(context)
      guard context.count - common <= Self.forkTokens else { return try predictApart(contexts) }
      forks.append(Fork(sequence: engine.makeSequence(adapter: adapter), index: index))
      engine.copy(sequence, to: forks[forks.count - 1].sequence)
      engine.truncate(forks[forks.count - 1].sequence, to: common)
    }
    var rows = [Int](repeating: -1, count: contexts.count)
    let kept = try queue(main, contexts, engine, sequence, &rows)
    for fork in forks {
      for token in contexts[fork.index][engine.length(fork.sequence)...] {
        try engine.append(token, to: fork.sequence)
      }
      rows[fork.index] = engine.wantLogits()
    }
    try engine.run(cancel: cancel)
    held += main[kept...]
    known += [Prediction?](repeating: nil, count: main.count - kept)
    var predictions: [Prediction] = []
    for (index, row) in rows.enumerated() {
      predictions.append(try prediction(engine.logits(row: row)))
      let isForked = forks.contains { $0.index == index }
      if !isForked { known[contexts[index].count - 1] = predictions[index] }
    }
    return predictions
  }

  /// A context whose tokens part from those of the longest one.
  private struct Fork {
    var sequence: SequenceID
    var index: Int
  }

  /// Queues what the sequence lacks of the longest context, wanting back what follows each context that it
  /// goes on from. Returns how many tokens the sequence had in common with it.
  private func queue(
    _ main: [Int32], _ contexts: [[Int32]], _ engine: Engine, _ sequence: SequenceID,
    _ rows: inout [Int]
  ) throws(IVGError) -> Int {
    let inner = contexts.indices.filter { main.starts(with: contexts[$0]) }
    let kept = inner.reduce(common(main)) { min($0, contexts[$1].count - 1) }
    engine.truncate(sequence, to: kept)
    forget(to: kept)
    for position in kept..<main.count {
      try engine.append(main[position], to: sequence)
      let asked = inner.filter { contexts[$0].count == position + 1 }
      if asked.isEmpty { continue }
      let row = engine.wantLogits()
      for index in asked { rows[index] = row }
    }
    return kept
  }

  /// What was found before after these contexts; nil if anything of it was not.
  private func recall(_ contexts: [[Int32]]) -> [Prediction]? {
    var found: [Prediction] = []
    for context in contexts {
      guard context.count <= held.count, let prediction = known[context.count - 1],
        held.starts(with: context)
      else { return nil }
      found.append(prediction)
    }
    return found
  }

  private func forget(to count: Int) {
    held.removeLast(held.count - count)
    known.removeLast(known.count - count)
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
    try host.compute(
      contexts, into: contexts.indices.map { hostedLogits.pointer + $0 * size },
      vocabularySize: size)
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
