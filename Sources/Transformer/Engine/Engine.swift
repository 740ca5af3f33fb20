import CIVGKernels
import Tensor

/// Runs one trunk: sequences with their keys and values, a queue of tokens, and the one forward pass
/// over all of them.
///
/// Use: `append` tokens to sequences, say with `want…` what should come back of the token just
/// appended, then `run`: each weight is read once for all queued tokens, whatever sequence or adapter
/// they belong to (in slices of `batchLimit` tokens). Results stay readable until the next `append`
/// after a `run`.
///
/// A token's results depend on its own sequence only, bit for bit: not on what else is queued, on
/// slices, or on the number of threads.
///
/// Threads: one call at a time; the team's threads work only inside `run`.
package final class Engine {
  /// Tokens of one slice of a batch.
  package static let batchLimit = 64

  package let trunk: Trunk
  package let contextLength: Int
  private let sequences: SequenceTable
  private let team: ThreadTeam
  private let program: ForwardProgram
  private var adapters: [Adapter?] = []
  private var heads: [ValueHead] = []

  private var entries: [Entry] = []
  private var outputs: [Output] = []
  private var touched: [(sequence: SequenceID, length: Int)] = []
  private var logitRows = 0
  private var resultCount = 0
  private var logits: AlignedBuffer<Float>  // [rows, output size]
  private var results: AlignedBuffer<Double>
  private var hasRun = true

  /// `pageLimit` bounds the pages of keys and values, see `pageBytes`. `clock` is read between phases.
  ///
  /// Throws `.outOfMemory`.
  package init(
    trunk: Trunk, team: ThreadTeam, contextLength: Int, pageLimit: Int, clock: StepClock? = nil
  ) throws(IVGError) {
    self.trunk = trunk
    self.team = team
    self.contextLength = contextLength
    let pool = try PagePool(configuration: trunk.configuration, limit: pageLimit)
    sequences = SequenceTable(pool: pool, contextLength: contextLength)
    program = try ForwardProgram(
      trunk: trunk, sequences: sequences, workerCount: team.threadCount,
      contextLength: contextLength, clock: clock)
    logits = try AlignedBuffer(count: 0)
    results = try AlignedBuffer(count: 0)
    entries.reserveCapacity(Self.batchLimit)
    outputs.reserveCapacity(Self.batchLimit)
  }

  // MARK: Memory

  /// Bytes of one page, and the tokens it holds.
  package static func pageBytes(_ trunk: Trunk) -> Int { PagePool.pageBytes(trunk.configuration) }
  package static var tokensPerPage: Int { PagePool.tokensPerPage }

  /// Bytes that an engine takes beside its pages, with room for `logitRows` rows of logits.
  package static func fixedBytes(
    trunk: Trunk, threadCount: Int, contextLength: Int, sequences: Int, logitRows: Int
  ) -> Int {
    ForwardProgram.bytes(trunk: trunk, workerCount: threadCount, contextLength: contextLength)
      + logitRows * trunk.outputSize * MemoryLayout<Float>.stride
      + sequences * SequenceTable.slotBytes(contextLength: contextLength)
  }

  /// Bytes that this engine holds beside its pages.
  package var heldBytes: Int {
    ForwardProgram.bytes(
      trunk: trunk, workerCount: team.threadCount, contextLength: contextLength)
      + sequences.slotBytes + outputBytes
  }
  /// Of these, bytes of logits and results.
  package var outputBytes: Int {
    logits.count * MemoryLayout<Float>.stride + results.count * MemoryLayout<Double>.stride
  }

  package var usedPages: Int { sequences.pool.used }
  package var pageLimit: Int { sequences.pool.limit }
  /// Bytes of pages in use, and of those whose memory was not given back to the system.
  package var usedBytes: Int { sequences.pool.used * sequences.pool.pageBytes }
  package var residentBytes: Int { sequences.pool.resident * sequences.pool.pageBytes }
  /// Gives the memory of free pages back to the system.
  package func trim() { sequences.pool.trim() }

  /// Lets go of adapters that no sequence has any more.
  package func releaseAdapters() {
    for index in adapters.indices where !sequences.uses(adapter: Int32(index)) {
      adapters[index] = nil
    }
    program.releaseAdapters()
  }

  /// Lets go of all heads: what `register` gave is void.
  package func releaseHeads() { heads.removeAll() }

  /// Pages that `count` more tokens of a sequence take: new ones, and a copy of the last if it is shared.
  package func newPages(for sequence: SequenceID, _ count: Int) -> Int {
    let length = sequences.length(sequence)
    let perPage = Self.tokensPerPage
    guard count > 0 else { return 0 }
    let new = (length + count + perPage - 1) / perPage - (length + perPage - 1) / perPage
    return new + (length % perPage != 0 && sequences.sharesLastPage(sequence) ? 1 : 0)
  }

  /// Gives the logits and results of the last batch back to the system.
  package func dropOutputs() throws(IVGError) {
    beginBatch()
    logits = try AlignedBuffer(count: 0)
    results = try AlignedBuffer(count: 0)
  }

  /// Makes room for that many rows of logits and scalar results in one batch, so that nothing is
  /// allocated later.
  ///
  /// Throws `.outOfMemory`.
  package func reserve(logitRows: Int, results count: Int) throws(IVGError) {
    let needed = logitRows * trunk.outputSize
    if logits.count < needed { logits = try AlignedBuffer(count: needed) }
    if results.count < count { results = try AlignedBuffer(count: count) }
    outputs.reserveCapacity(logitRows + count)
    touched.reserveCapacity(logitRows + count)
    try program.reserve(outputs: logitRows + count)
  }

  // MARK: Sequences

  /// An empty sequence; its tokens run with `adapter`, which must be for this engine's trunk. `longest`: the
  /// tokens that it may grow to, by default the context's; see `Trunk.isLong`.
  package func makeSequence(adapter: Adapter? = nil, longest: Int? = nil) -> SequenceID {
    precondition(adapter == nil || adapter!.trunk === trunk, "an adapter for another trunk")
    return sequences.create(
      adapter: adapter.map(index(of:)) ?? -1, isLong: trunk.isLong(longest ?? contextLength))
  }

  package func removeSequence(_ id: SequenceID) { sequences.remove(id) }
  package func length(_ id: SequenceID) -> Int { sequences.length(id) }
  package func isLong(_ id: SequenceID) -> Bool { sequences.isLong(id) }

  /// Makes `target` a copy of `source`: no cost until one of them is extended. Neither may be part of a
  /// batch that has not run: there is nothing to copy yet.
  package func copy(_ source: SequenceID, to target: SequenceID) {
    precondition(
      hasRun || !touched.contains { $0.sequence == source || $0.sequence == target },
      "a sequence was copied within a batch that extends it")
    sequences.copy(source, to: target)
  }

  /// Forgets all but the first `length` tokens.
  package func truncate(_ id: SequenceID, to length: Int) { sequences.truncate(id, to: length) }

  private func index(of adapter: Adapter) -> Int32 {
    if let found = adapters.firstIndex(where: { $0 === adapter }) { return Int32(found) }
    if let free = adapters.firstIndex(where: { $0 == nil }) {
      adapters[free] = adapter
      return Int32(free)
    }
    adapters.append(adapter)
    return Int32(adapters.count - 1)
  }

  /// The number under which outputs name a head of this engine's trunk.
  package func register(_ head: ValueHead) -> Int32 {
    precondition(head.trunk === trunk, "a head for another trunk")
    if let found = heads.firstIndex(where: { $0 === head }) { return Int32(found) }
    heads.append(head)
    return Int32(heads.count - 1)
  }

  // MARK: Batch

  /// Queues one token at the end of a sequence.
  ///
  /// Throws `.invalidArgument` for an id outside the model, `.contextFull`, `.outOfMemory`; the batch
  /// so far is then dropped and its sequences are as they were.
  package func append(_ token: Int32, to sequence: SequenceID) throws(IVGError) {
    if hasRun { beginBatch() }
    guard token >= 0, Int(token) < trunk.embedding.outputs else {
      drop()
      throw IVGError(
        .invalidArgument,
        "token \(token) is outside the model's vocabulary of \(trunk.embedding.outputs)")
    }
    let position = sequences.length(sequence)
    if entries.last?.sequence != sequence,
      !touched.contains(where: { $0.sequence == sequence })
    {
      touched.append((sequence, position))
    }
    do {
      try sequences.extend(sequence)
    } catch {
      drop()
      throw error
    }
    entries.append(
      Entry(
        token: token, position: Int32(position), sequence: sequence,
        adapter: sequences.adapter(sequence), isLong: sequences.isLong(sequence)))
  }

  /// Tokens appended since the last run.
  package var queuedCount: Int { hasRun ? 0 : entries.count }

  /// The logits after the token just appended. Returns their row; `reserve` bounds the rows.
  package func wantLogits() -> Int {
    want(.logits(row: logitRows))
    logitRows += 1
    return logitRows - 1
  }

  /// log p(`token`) after the token just appended. Returns the result's slot.
  package func wantLogProbability(of token: Int32) -> Int {
    precondition(token >= 0 && Int(token) < trunk.outputSize, "a token outside the vocabulary")
    want(.logProbability(token: token))
    return resultCount - 1
  }

  /// All outputs of a vocabulary head after the token just appended, in a row of the logits.
  package func wantHeadVector(_ head: Int32) -> Int {
    want(.headVector(head: head, row: logitRows))
    logitRows += 1
    return logitRows - 1
  }

  /// One output of a head after the token just appended. Returns the result's slot.
  package func wantHeadValue(_ head: Int32, token: Int32 = 0) -> Int {
    want(.headValue(head: head, token: token))
    return resultCount - 1
  }

  /// The final hidden state, after the last norm, into `hidden` [hidden size].
  package func wantHidden(_ hidden: UnsafeMutablePointer<Float>) { want(.hidden(hidden)) }

  private func want(_ kind: Output.Kind) {
    precondition(!entries.isEmpty && !hasRun, "an output needs a token appended before it")
    var slot = -1
    switch kind {
    case .logProbability, .headValue:
      precondition(resultCount < results.count, "more results than reserved")
      slot = resultCount
      resultCount += 1
    case .logits, .headVector:
      precondition((logitRows + 1) * trunk.outputSize <= logits.count, "more rows than reserved")
    case .hidden: break
    }
    outputs.append(Output(entry: entries.count - 1, kind: kind, slot: slot))
  }

  /// Computes the queued tokens.
  ///
  /// Throws `.cancelled` if `cancel` is raised, looked at once per layer; all sequences are then as
  /// they were before the first `append`.
  package func run(cancel: CancelFlag) throws(IVGError) {
    if hasRun { return }
    defer { hasRun = true }
    var start = 0
    var output = 0
    while start < entries.count {
      let end = min(start + Self.batchLimit, entries.count)
      var outputEnd = output
      while outputEnd < outputs.count, outputs[outputEnd].entry < end { outputEnd += 1 }
      do {
        try program.load(
          entries: entries[start..<end], outputs: outputs[output..<outputEnd], adapters: adapters,
          heads: heads, logits: logits.pointer, results: results.pointer, cancel: cancel)
      } catch {
        drop()
        throw error
      }
      team.run(program)
      if program.isStopped {
        drop()
        throw IVGError(.cancelled, "cancelled")
      }
      start = end
      output = outputEnd
    }
  }

  /// Row `row` of the logits of the last batch: [output size], borrowed until the next batch.
  package func logits(row: Int) -> UnsafeMutablePointer<Float> {
    logits.pointer + row * trunk.outputSize
  }

  /// A scalar result of the last batch.
  package func result(_ slot: Int) -> Double { results.pointer[slot] }

  private func beginBatch() {
    entries.removeAll(keepingCapacity: true)
    outputs.removeAll(keepingCapacity: true)
    touched.removeAll(keepingCapacity: true)
    logitRows = 0
    resultCount = 0
    hasRun = false
  }

  /// Forgets the queued tokens and what they asked for. A batch that has run stays.
  package func drop() {
    if hasRun { return }
    for (sequence, length) in touched { sequences.truncate(sequence, to: length) }
    beginBatch()
    hasRun = true
  }
}
