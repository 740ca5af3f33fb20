import Tensor
import Tokenizer
import Transformer

/// Scoring is incremental: of a row only the tokens that are new since the last score are read.
///
/// Terms: the response has n tokens in the track's vocabulary; token i sits at position P + i
/// behind the prompt's P tokens; what is known about token i comes back from position P + i − 1.
extension Track {
  /// A result to be fetched after the engine has run.
  struct Pending {
    enum Kind { case logProbability, endLogProbability, value }
    var slot: Int
    var kind: Kind
    var result: Int
  }

  /// The scorer's own end token.
  private var endToken: Int32? { model.tokenizer.endToken }

  /// How many tokens the response has here, and whether an end must be appended to score it.
  private func response(_ slot: Int, _ row: Row) -> (count: Int, ended: Bool, hasEndToken: Bool) {
    let ended = row.finish == .end || row.finish == .stop
    if isTextual { return (states[slot].tokens.count, ended, false) }
    return (row.count, ended, row.finish == .end)
  }

  /// Takes the row's text as it is now: finds its tokens and rolls back to where they part from the
  /// known ones. The text goes on behind the prompt.
  ///
  /// Throws `.contextFull` if they do not fit.
  func followText(_ slot: Int, _ row: Row) throws(IVGError) {
    guard isTextual, let engine else { return }
    let common = try states[slot].response.update(to: row.bytes, with: model.tokenizer)
    let sequence = states[slot].sequence!
    if engine.length(sequence) > prompt.count + common {
      engine.truncate(sequence, to: prompt.count + common)
    }
    let known = min(states[slot].logProbabilities.count, common)
    states[slot].logProbabilities.removeLast(states[slot].logProbabilities.count - known)
  }

  /// Queues what slot 0 lacks of the prompt but for its last token, from which the first result
  /// comes.
  func queuePromptForScores() throws(IVGError) {
    guard let engine, needsLogProbabilities || scoreHead != nil else { return }
    let sequence = states[0].sequence!
    for position in engine.length(sequence)..<max(prompt.count - 1, engine.length(sequence)) {
      try engine.append(prompt[position], to: sequence)
    }
  }

  /// Queues what the score of a row still lacks; `pending` says what to fetch after the run.
  func queueScore(_ slot: Int, _ row: Row, _ pending: inout [Pending]) throws(IVGError) {
    guard let engine else { return }
    let (count, ended, hasEndToken) = response(slot, row)
    let sequence = states[slot].sequence!
    let known = states[slot].logProbabilities.count
    /// Tokens before the end token, if there is one.
    let inner = hasEndToken ? count - 1 : count
    let lacksLogProbabilities = needsLogProbabilities && known < count
    let wantsEnd = needsLogProbabilities && ended && !hasEndToken && endToken != nil
    let valueAt = valuePlace(slot, count: count, inner: inner, ended: ended, row: row)

    var first = Int.max
    if lacksLogProbabilities { first = min(first, known - 1) }
    if wantsEnd { first = min(first, count - 1) }
    if let valueAt { first = min(first, valueAt.place) }
    guard first < Int.max else { return }
    var last = first
    if lacksLogProbabilities { last = max(last, count - 2) }
    if wantsEnd { last = max(last, count - 1) }
    if let valueAt { last = max(last, valueAt.place) }

    if engine.length(sequence) > prompt.count + first {
      engine.truncate(sequence, to: prompt.count + first)
    }
    for place in (engine.length(sequence) - prompt.count)...last {
      let beyond = place == inner && valueAt?.place == inner
      try engine.append(
        beyond ? endToken ?? 0 : token(place, slot, row), to: sequence)
      if lacksLogProbabilities, place + 1 >= known, place + 1 < count {
        let result = engine.wantLogProbability(of: token(place + 1, slot, row))
        pending.append(Pending(slot: slot, kind: .logProbability, result: result))
      }
      if wantsEnd, place == count - 1 {
        let result = engine.wantLogProbability(of: endToken!)
        pending.append(Pending(slot: slot, kind: .endLogProbability, result: result))
      }
      if let valueAt, place == valueAt.place {
        let result = engine.wantHeadValue(engine.register(scoreHead!), token: valueAt.token)
        pending.append(Pending(slot: slot, kind: .value, result: result))
      }
    }
  }

  /// At which place the score head is to be read, and which of its outputs; nil if the value is in
  /// hand.
  private func valuePlace(_ slot: Int, count: Int, inner: Int, ended: Bool, row: Row)
    -> (place: Int, token: Int32)?
  {
    guard let scoreHead else { return nil }
    let end = ended ? endToken : nil
    switch scoreHead.kind {
    case .vocabulary:
      // V(x, y_≤t) = Q_{t−1}[y_t]; the very first position has value 0.
      if let end, Int(end) < scoreHead.outputSize { return (inner - 1, end) }
      if inner == 0 { return nil }
      if tiltHead == engine?.register(scoreHead), states[slot].valuedCount == inner { return nil }
      return (inner - 2, token(inner - 1, slot, row))
    case .scalar:
      if end != nil { return (inner, 0) }
      return inner == 0 ? nil : (inner - 1, 0)
    }
  }

  /// Token `place` of the response in this track's vocabulary; −1 is the prompt's last.
  private func token(_ place: Int, _ slot: Int, _ row: Row) -> Int32 {
    if place < 0 { return prompt[prompt.count + place] }
    return isTextual ? states[slot].tokens[place] : row.tokens[place]
  }

  /// Fetches a result.
  ///
  /// Throws `.corruptFile` if it is not a number.
  func collect(_ pending: Pending, _ row: Row) throws(IVGError) {
    let value = engine!.result(pending.result)
    guard value.isFinite else { throw damaged() }
    switch pending.kind {
    case .logProbability: states[pending.slot].logProbabilities.append(value)
    case .endLogProbability: states[pending.slot].endLogProbability = value
    case .value: states[pending.slot].value = value
    }
  }

  /// Gives back what a scored row will not need again: all but the prompt, which the next request
  /// may share.
  func releaseAnswer(_ slot: Int) {
    guard !isStepping, let engine, let sequence = states[slot].sequence else { return }
    engine.truncate(sequence, to: min(engine.length(sequence), max(prompt.count - 1, 0)))
  }

  /// Asks a hosted model for log p of its end token behind rows that ended by a stop string; the
  /// rows' own tokens were noted as they were drawn.
  ///
  /// Throws `.callback`.
  func scoreHostedEnds(_ slots: [Int], _ rows: [Row]) throws(IVGError) {
    guard needsLogProbabilities, let endToken else { return }
    let ended = slots.filter { rows[$0].finish == .stop }
    guard !ended.isEmpty else { return }
    try runHosted(ended, rows: rows)
    for slot in ended {
      let total = Kernels.current.table.pointee.log_sum_exp(logits(slot), model.outputSize)
      guard total.isFinite else { throw damaged() }
      states[slot].endLogProbability = Double(logits(slot)[Int(endToken)]) - total
    }
  }

  /// Σ log p of the row's tokens, with the scorer's own end where the row ended by a stop string or
  /// in another vocabulary.
  func logProbability(_ slot: Int) -> Double {
    states[slot].logProbabilities.reduce(0, +) + states[slot].endLogProbability
  }

  /// Tokens that `logProbability` sums over.
  func scoredCount(_ slot: Int) -> Int { states[slot].logProbabilities.count }
}
