import Tensor
import Transformer

/// S of every row, IVG eq. 8–10. Only rows that changed since their last score cost anything, and of
/// those only their new tokens.
extension Search {
  func score() throws(IVGError) {
    guard request.hasScores else { return }
    let slots = (0..<request.rowCount).filter { rows[$0].state != .empty && !rows[$0].isScored }
    guard !slots.isEmpty else { return }
    for track in tracks where track.isTextual {
      for slot in slots { try track.followText(slot, rows[slot]) }
    }
    for engine in engines {
      for track in tracks where track.engine === engine {
        if track.isTextual {
          // Another vocabulary may need more tokens for the text than the rows have.
          let tokens = slots.reduce(0) { $0 + track.states[$1].tokens.count + 2 }
          try engine.reserve(logitRows: 0, results: tokens)
        }
        try runScores(of: track, slots)
      }
    }
    for track in tracks where track.engine == nil { try track.scoreHostedEnds(slots, rows) }
    let hosted = try hostScores(slots)
    for (index, slot) in slots.enumerated() {
      let score = hosted[index] + sum(slot)
      guard !score.isNaN else {
        throw IVGError(
          .callback, "row \(slot)'s score is not a number: a hosted model excludes its tokens")
      }
      rows[slot].score = score
      rows[slot].scoredCount = rows[slot].count
    }
  }

  /// Reads what the scores of `slots` lack. Rows go through in groups that fill a pass, and one that has ended gives its
  /// pages back at once: best of N needs the keys and values of a few rows, not of N, for each scorer.
  private func runScores(of track: Track, _ slots: [Int]) throws(IVGError) {
    guard let engine = track.engine else { return }
    var first = 0
    while first < slots.count {
      pending.removeAll(keepingCapacity: true)
      var end = first
      while end < slots.count, end == first || engine.queuedCount < Engine.batchLimit {
        try track.queueScore(slots[end], rows[slots[end]], &pending)
        end += 1
      }
      try engine.run(cancel: cancel)
      for result in pending { try track.collect(result, rows[result.slot]) }
      for slot in slots[first..<end] where rows[slot].state == .finished {
        track.releaseAnswer(slot)
      }
      first = end
    }
  }

  private func sum(_ slot: Int) -> Double {
    var score = 0.0
    for plan in request.implicits where plan.role.contains(.score) {
      let tuned = tracks[plan.tuned]
      let untuned = tracks[plan.untuned]
      var ratio = tuned.logProbability(slot) - untuned.logProbability(slot)
      if plan.lengthAverage { ratio /= Double(max(tuned.scoredCount(slot), 1)) }
      score += plan.weight * ratio
    }
    for plan in request.explicits where plan.role.contains(.score) {
      score += plan.weight * tracks[plan.track].states[slot].value
    }
    return score
  }

  /// The host scorers' weighted sum for each slot.
  ///
  /// Throws `.callback` if one reports failure or gives something that is not a number.
  private func hostScores(_ slots: [Int]) throws(IVGError) -> [Double] {
    var sums = [Double](repeating: 0, count: slots.count)
    guard !request.scorers.isEmpty else { return sums }
    if cancel.isRaised { throw IVGError(.cancelled, "cancelled") }
    let texts = slots.map {
      HostScorer.Text(bytes: rows[$0].bytes, isFinished: rows[$0].state == .finished)
    }
    for (scorer, weight) in request.scorers {
      guard let scores = scorer.score(request.prompt, texts) else {
        throw IVGError(.callback, "the host scorer's callback reported failure")
      }
      for (index, score) in scores.enumerated() {
        guard score.isFinite else {
          throw IVGError(
            .callback, "the host scorer's score \(index) is not a number: \(score)")
        }
        sums[index] += weight * score
      }
    }
    return sums
  }
}
