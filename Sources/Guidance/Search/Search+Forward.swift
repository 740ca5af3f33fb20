import Tensor
import Transformer

/// The stages that run models so that every row can be sampled.
extension Search {
  /// Reads every track's prompt once and gives all slots a share in it.
  func readPrompt() throws(IVGError) {
    rows[0].state = .live
    try step(slots: 0..<1, areParents: true)
    try shareScoringPrompts()
    for slot in 1..<max(request.rowCount, 1) {
      rows[slot].copy(from: rows[0])
      for track in tracks { track.copy(0, to: slot) }
    }
  }

  /// Reads the rows' last tokens. Behind a selection that is done once for each kept row, before it is
  /// copied to its successors.
  func forward() throws(IVGError) {
    if isContracted {
      try step(slots: request.rowCount..<request.rowCount + keptCount, areParents: true)
      expand()
      isContracted = false
    } else {
      try step(slots: 0..<request.rowCount, areParents: false)
    }
  }

  /// Brings the stepping tracks of live rows up to date, all rows of an engine in one pass; of rows that are about
  /// to be copied, `areParents`, also those tracks that are scored later. Each engine's part counts as soon
  /// as it is done, so a call after a cancel does not repeat it.
  private func step(slots: Range<Int>, areParents: Bool) throws(IVGError) {
    for engine in engines {
      for track in tracks where track.engine === engine && track.steps(areParents) {
        for slot in slots where isUndrawn(slot) { _ = try track.queueStep(slot, rows[slot]) }
      }
      try engine.run(cancel: cancel)
      for track in tracks where track.engine === engine && track.steps(areParents) {
        for slot in slots where isUndrawn(slot) { track.commitStep(slot, rows[slot]) }
      }
    }
    for track in tracks where track.engine == nil {
      if cancel.isRaised { throw IVGError(.cancelled, "cancelled") }
      let live = slots.filter {
        isUndrawn($0) && track.states[$0].position != rows[$0].count
      }
      guard track.isStepping, !live.isEmpty else { continue }
      try track.runHosted(live, rows: rows)
      for slot in live { track.commitStep(slot, rows[slot]) }
    }
  }

  /// Whether a row waits for its next token. After a cancel within sampling some rows have theirs already.
  func isUndrawn(_ slot: Int) -> Bool {
    rows[slot].state == .live && rows[slot].count == position
  }

  /// Copies each kept row to its K slots; a finished one, in `pool`, to one slot.
  private func expand() {
    let successors = request.search.successors
    for slot in 0..<request.rowCount {
      rows[slot].clear()
      for track in tracks { track.release(slot) }
    }
    for kept in 0..<keptCount {
      let source = request.rowCount + kept
      let isPooled = rows[source].state == .finished && request.search.finishedRows == .pool
      for successor in 0..<(isPooled ? 1 : successors) {
        let slot = kept * successors + successor
        rows[slot].copy(from: rows[source])
        for track in tracks { track.copy(source, to: slot) }
      }
      for track in tracks { track.release(source) }
    }
  }

  /// Reads the prompts of the other tracks, all but their last token, once for all rows.
  func shareScoringPrompts() throws(IVGError) {
    for engine in engines {
      for track in tracks where track.engine === engine && !track.isStepping {
        try track.queuePromptForScores()
      }
      try engine.run(cancel: cancel)
      for track in tracks where track.engine === engine && !track.isStepping {
        for slot in 1..<max(request.rowCount, 1) { track.copy(0, to: slot) }
      }
    }
  }
}

extension Search {
  /// To be called before another user of an engine runs it: the logits in hand are about to go.
  package func forgetLogits(of engine: Engine) {
    for track in tracks where track.engine === engine {
      for slot in track.states.indices { track.states[slot].position = -1 }
    }
    if stage == .sample { stage = .forward }
  }
}
