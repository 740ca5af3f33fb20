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
    last = try Self.logits(session, engine)
    sequence = engine.makeSequence(adapter: adapter)
  }

  /// A copy, at no cost until one of the two is extended.
  package init(copying other: EvaluatedSequence) throws(IVGError) {
    session = other.session
    engine = other.engine
    adapter = other.adapter
    last = try Self.logits(session, engine)
    sequence = engine.makeSequence(adapter: adapter)
    engine.copy(other.sequence, to: sequence)
    last.pointer.update(from: other.last.pointer, count: last.count)
    hasLogits = other.hasLogits
  }

  deinit {
    counting { engine.removeSequence(sequence) }
    if adapter != nil { engine.releaseAdapters() }
    session.sequenceBytes -= last.count * MemoryLayout<Float>.stride
  }

  /// Room for a sequence's logits, counted against the budget.
  private static func logits(_ session: Session, _ engine: Engine) throws(IVGError)
    -> AlignedBuffer<Float>
  {
    let bytes = engine.trunk.outputSize * MemoryLayout<Float>.stride
    session.sequenceBytes += bytes
    do throws(IVGError) {
      try session.reserveSequences(pages: 0, logitRows: 0, on: engine)
      return try AlignedBuffer(count: engine.trunk.outputSize)
    } catch {
      session.sequenceBytes -= bytes
      throw error
    }
  }

  package var length: Int { engine.length(sequence) }

  /// Has the session know how many pages a change takes or gives back.
  private func counting(_ change: () -> Void) {
    let before = engine.usedPages
    change()
    session.sequencePages += engine.usedPages - before
  }

  /// Appends tokens to this sequence alone.
  package func evaluate(_ tokens: UnsafeBufferPointer<Int32>) throws(IVGError) {
    try Self.evaluate([Extension(self, tokens)])
  }

  /// A sequence and the tokens to append to it.
  package struct Extension {
    let sequence: EvaluatedSequence
    let tokens: UnsafeBufferPointer<Int32>

    package init(_ sequence: EvaluatedSequence, _ tokens: UnsafeBufferPointer<Int32>) {
      self.sequence = sequence
      self.tokens = tokens
    }
  }

  /// Appends tokens to sequences of one session, in one pass over the weights for all of them, and keeps the
  /// logits after the last token of each. A sequence without new tokens stays as it is.
  ///
  /// Throws `.invalidArgument`, `.contextFull`, `.outOfMemory`, `.cancelled`; all sequences are then as
  /// they were.
  package static func evaluate(_ extensions: [Extension]) throws(IVGError) {
    guard let first = extensions.first?.sequence else { return }
    let (session, engine) = (first.session, first.engine)
    try check(extensions)
    if session.cancel.take() { throw IVGError(.cancelled, "cancelled") }
    let wanted = extensions.filter { !$0.tokens.isEmpty }
    guard !wanted.isEmpty else { return }
    let pages = wanted.reduce(0) {
      $0 + engine.newPages(for: $1.sequence.sequence, $1.tokens.count)
    }
    try session.reserveSequences(pages: pages, logitRows: wanted.count, on: engine)
    session.generation?.forgetLogits(of: engine)
    try engine.reserve(logitRows: wanted.count, results: 0)
    let before = engine.usedPages
    defer { session.sequencePages += engine.usedPages - before }
    for part in wanted {
      for token in part.tokens { try engine.append(token, to: part.sequence.sequence) }
      _ = engine.wantLogits()
    }
    session.clock?.start()
    do {
      try engine.run(cancel: session.cancel)
    } catch {
      if error.kind == .cancelled { _ = session.cancel.take() }
      throw error
    }
    for (row, part) in wanted.enumerated() {
      part.sequence.last.pointer.update(from: engine.logits(row: row), count: first.last.count)
      part.sequence.hasLogits = true
    }
  }

  private static func check(_ extensions: [Extension]) throws(IVGError) {
    let session = extensions[0].sequence.session
    for (index, part) in extensions.enumerated() {
      let sequence = part.sequence
      guard sequence.session === session else {
        throw IVGError(
          .invalidArgument, "sequence \(index) belongs to another session than the first")
      }
      if let same = extensions[..<index].firstIndex(where: { $0.sequence === sequence }) {
        throw IVGError(.invalidArgument, "sequence \(index) is the same as sequence \(same)")
      }
      guard part.tokens.count <= sequence.engine.contextLength - sequence.length else {
        throw IVGError(
          .contextFull,
          "the sequence has \(sequence.length) tokens; \(part.tokens.count) more exceed the context of "
            + "\(sequence.engine.contextLength) tokens")
      }
    }
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
