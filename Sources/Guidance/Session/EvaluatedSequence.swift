import Tensor
import Transformer

/// A sequence of tokens that a host evaluates in its own loop, in a session's memory. Keeps the session
/// alive. Threads: as a call on the session.
package final class EvaluatedSequence {
  private let session: Session
  private let engine: Engine
  private let adapter: Adapter?
  private let sequence: SequenceID
  private let last: AlignedBuffer<Float>  // [output size] the logits after the last token
  private var hasLogits = false

  /// An empty sequence on the session's base model.
  ///
  /// Throws `.unsupported` for a hosted base, `.mismatch` for an adapter of another model.
  package init(session: Session, adapter: Adapter?) throws(IVGError) {
    let trunk = try session.base.trunk(for: "a sequence")
    if let adapter, adapter.trunk !== trunk {
      throw IVGError(
        .mismatch, "\(adapter.path): the adapter was opened for another model than the session's")
    }
    self.session = session
    self.adapter = adapter
    engine = try session.engine(for: trunk)
    last = try AlignedBuffer(count: trunk.outputSize)
    sequence = engine.makeSequence(adapter: adapter)
  }

  /// A copy, at no cost until one of the two is extended.
  package init(copying other: EvaluatedSequence) throws(IVGError) {
    session = other.session
    engine = other.engine
    adapter = other.adapter
    last = try AlignedBuffer(count: engine.trunk.outputSize)
    sequence = engine.makeSequence(adapter: adapter)
    engine.copy(other.sequence, to: sequence)
    last.pointer.update(from: other.last.pointer, count: last.count)
    hasLogits = other.hasLogits
  }

  deinit { counting { engine.removeSequence(sequence) } }

  package var length: Int { engine.length(sequence) }

  /// Has the session know how many pages a change takes or gives back.
  private func counting(_ change: () -> Void) {
    let before = engine.usedPages
    change()
    session.sequencePages += engine.usedPages - before
  }

  /// Appends tokens and keeps the logits after the last.
  ///
  /// Throws `.invalidArgument`, `.contextFull`, `.outOfMemory`, `.cancelled`; the sequence is then as
  /// it was.
  package func evaluate(_ tokens: UnsafeBufferPointer<Int32>) throws(IVGError) {
    if session.cancel.take() { throw IVGError(.cancelled, "cancelled") }
    guard !tokens.isEmpty else { return }
    guard tokens.count <= engine.contextLength - length else {
      throw IVGError(
        .contextFull,
        "the sequence has \(length) tokens; \(tokens.count) more exceed the context of "
          + "\(engine.contextLength) tokens")
    }
    try session.reserveSequencePages(tokens.count / Engine.tokensPerPage + 2, on: engine)
    session.generation?.forgetLogits(of: engine)
    try engine.reserve(logitRows: 1, results: 0)
    let before = engine.usedPages
    defer { session.sequencePages += engine.usedPages - before }
    for token in tokens { try engine.append(token, to: sequence) }
    let row = engine.wantLogits()
    session.clock?.start()
    do {
      try engine.run(cancel: session.cancel)
    } catch {
      if error.kind == .cancelled { _ = session.cancel.take() }
      throw error
    }
    last.pointer.update(from: engine.logits(row: row), count: last.count)
    hasLogits = true
  }

  /// Forgets all but the first `length` tokens.
  ///
  /// Throws `.invalidArgument` if there are fewer.
  package func truncate(to length: Int) throws(IVGError) {
    guard (0...self.length).contains(length) else {
      throw IVGError(
        .invalidArgument, "length is \(length); the sequence has \(self.length) tokens")
    }
    counting { engine.truncate(sequence, to: length) }
    hasLogits = false
  }

  /// The raw logits after the last evaluated token, [vocabulary], borrowed until the next call.
  ///
  /// Throws `.invalidArgument` before any `evaluate`.
  package func logits() throws(IVGError) -> UnsafeBufferPointer<Float> {
    guard hasLogits else {
      throw IVGError(.invalidArgument, "the sequence has no logits; evaluate a token first")
    }
    return UnsafeBufferPointer(
      start: last.pointer, count: min(last.count, session.base.tokenizer.vocabularySize))
  }
}
