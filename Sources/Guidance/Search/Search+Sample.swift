import CIVGKernels
import Tensor
import Tokenizer
import Transformer

/// One token for every live row. Order: banned tokens, tilt on raw logits, repetition penalty, the
/// host's processor, then the sampler (temperature, top-k, top-p, min-p).
///
/// Drawing reads the logits and changes nothing but the drawer and `drawn`, so rows are drawn by all workers;
/// the calling thread then takes the tokens in the order of rows.
extension Search {
  func sample() throws(IVGError) {
    waiting.removeAll(keepingCapacity: true)
    // A row that has its token already was drawn before the call was cancelled.
    for slot in 0..<request.rowCount where isUndrawn(slot) { waiting.append(slot) }
    if drawers.count > 1, waiting.count > 1 {
      team.run(drawProgram!)
      for slot in waiting { try take(slot) }
    } else {
      for slot in waiting {
        draw(slot, drawers[0])
        try take(slot)
      }
    }
    position += 1
    if left != Int.max { left -= 1 }
  }

  /// Draws the slot's next token. Any worker.
  func draw(_ slot: Int, _ drawer: Drawer) {
    do {
      drawn[slot] = try drawOrFail(slot, drawer)
    } catch {
      drawn[slot] = Drawn(failure: error)
    }
  }

  private func drawOrFail(_ slot: Int, _ drawer: Drawer) throws(IVGError) -> Drawn {
    let table = Kernels.current.table.pointee
    let row = rows[slot]
    let count = request.vocabularySize
    let logits = drawer.work.pointer
    logits.update(from: tracks[0].logits(slot), count: count)
    for token in masked where Int(token) < count { logits[Int(token)] = -.infinity }
    try tilt(slot, logits)
    drawer.penalize(
      request.options.sampling.repetitionPenalty, prompt: tracks[0].prompt, row: row)
    if let processor = request.options.processor {
      let tokens = UnsafeBufferPointer(start: row.tokens, count: row.count)
      guard processor(slot, tokens, UnsafeMutableBufferPointer(start: logits, count: count)) else {
        throw IVGError(.callback, "the logits processor's callback reported failure")
      }
    }
    let total = table.log_sum_exp(logits, count)
    guard !total.isNaN, total < .infinity else { throw damagedLogits(slot) }
    guard let token = drawer.sampler.draw(logits, count: count, row: slot, position: position)
    else {
      throw IVGError(
        .invalidArgument, "no token is left to draw: bans, guides and processor exclude all")
    }
    if isSingle { reportAlternatives(logits, count, total) }
    for track in tracks where !track.isTextual { track.normalize(slot, count: row.count) }
    return Drawn(token: token, logProbability: Float(Double(logits[Int(token)]) - total))
  }

  /// Adds the drawn token to its row and finds out whether that ends it.
  private func take(_ slot: Int) throws(IVGError) {
    if let failure = drawn[slot].failure { throw failure }
    let (token, logProbability) = (drawn[slot].token, drawn[slot].logProbability)
    let row = rows[slot]
    let tokenizer = request.base.tokenizer
    for track in tracks where !track.isTextual {
      try track.note(token, slot: slot, count: row.count + 1)
    }
    let isEnd = endTokens.contains(token)
    let isHidden = isEnd || tokenizer.isControl(token)
    row.append(
      token, logProbability: logProbability,
      text: isHidden ? UnsafeRawBufferPointer(start: nil, count: 0) : tokenizer.bytes(of: token))
    drawnCount += 1
    if isEnd {
      row.finish(.end)
    } else if row.state == .live, row.count == request.options.maximumTokens {
      row.finish(.length)
    }
  }

  private func damagedLogits(_ slot: Int) -> IVGError {
    if request.options.processor != nil {
      return IVGError(.callback, "after the logits processor the logits are not numbers")
    }
    for track in tracks where track.needsLogits {
      if Kernels.current.table.pointee.is_clean(track.logits(slot), track.model.outputSize) == 0 {
        return track.damaged()
      }
    }
    return tracks[0].damaged()
  }

  // MARK: Tilt

  private func tilt(_ slot: Int, _ logits: UnsafeMutablePointer<Float>) throws(IVGError) {
    guard !tilts.isEmpty else { return }
    let table = Kernels.current.table.pointee
    let count = request.vocabularySize
    if request.search.candidates == .base { keepBaseCandidates(logits) }
    for tilt in tilts {
      switch tilt {
      case .implicit(let tuned, let untuned, let weight):
        table.tilt(
          logits, tracks[tuned].logits(slot), tracks[untuned].logits(slot), weight, count)
      case .vocabulary(let track, let weight):
        table.add_scaled(logits, tracks[track].headVector(slot), weight, count)
      case .candidates(let track, let head, let weight):
        try tiltCandidates(slot, tracks[track], head, weight, logits)
      }
    }
  }

  /// Everything but the base's top-k becomes −infinity.
  private func keepBaseCandidates(_ logits: UnsafeMutablePointer<Float>) {
    guard let limit = request.options.sampling.topK else { return }
    let count = request.vocabularySize
    let best = topCandidates(logits, limit)
    for index in 0..<count { logits[index] = -.infinity }
    for candidate in best { logits[Int(candidate.id)] = candidate.value }
  }

  private func topCandidates(_ logits: UnsafePointer<Float>, _ limit: Int)
    -> [(id: Int32, value: Float)]
  {
    let limit = min(limit, request.vocabularySize)
    var ids = [Int32](repeating: 0, count: limit)
    var values = [Float](repeating: 0, count: limit)
    let found = Kernels.current.table.pointee.top_k(
      logits, request.vocabularySize, limit, &ids, &values)
    return (0..<found).map { (ids[$0], values[$0]) }
  }

  /// A scalar head values the base's top-k one by one: each is a one-token fork of the row, all of them
  /// in one batch. The others are excluded.
  private func tiltCandidates(
    _ slot: Int, _ track: Track, _ head: ValueHead, _ weight: Float,
    _ logits: UnsafeMutablePointer<Float>
  ) throws(IVGError) {
    guard let engine = track.engine, let index = track.candidateHead else { return }
    let candidates = topCandidates(logits, request.options.sampling.topK ?? 50)
    let forks = candidates.map { _ in engine.makeSequence(adapter: track.adapter) }
    defer { forks.forEach(engine.removeSequence) }
    var results: [Int] = []
    for (fork, candidate) in zip(forks, candidates) {
      engine.copy(track.states[slot].sequence!, to: fork)
      try engine.append(candidate.id, to: fork)
      results.append(engine.wantHeadValue(index))
    }
    try engine.run(cancel: cancel)
    for token in 0..<request.vocabularySize { logits[token] = -.infinity }
    for (result, candidate) in zip(results, candidates) {
      let value = engine.result(result)
      guard value.isFinite else { throw track.damaged() }
      logits[Int(candidate.id)] = candidate.value + weight * Float(value)
    }
  }

  // MARK: Alternatives

  private func reportAlternatives(
    _ logits: UnsafePointer<Float>, _ count: Int, _ total: Double
  ) {
    let wanted = min(request.options.topLogProbabilities, count)
    topCount = 0
    guard wanted > 0 else { return }
    topCount = Kernels.current.table.pointee.top_k(
      logits, count, wanted, topTokens, topLogProbabilities)
    for index in 0..<topCount {
      topLogProbabilities[index] = Float(Double(topLogProbabilities[index]) - total)
    }
  }
}
