import CIVGKernels
import Tensor
import Tokenizer
import Transformer

/// One model of a request, under its own prompt, following every row: the base, a tuned or an
/// untuned model, a value model. Models that share trunk, adapter and prompt share a track, so
/// nothing is computed twice.
///
/// A track keeps one sequence per row slot. Tracks that are needed at every token are `stepping`;
/// the others wait until a score is asked for and then read only what is new (`Track+Score`); what
/// successors share, the prompt and the last token of a kept row, they read before rows are copied.
/// A textual track has another vocabulary than the base and follows the rows' text.
final class Track {
  /// What the track knows about one slot.
  struct State {
    var sequence: SequenceID?
    /// Rows of the engine's logits, valid if `position` is the row's number of tokens.
    var logitsRow = -1
    var headRow = -1
    var position = -1
    /// log p of the response's tokens, as far as known.
    var logProbabilities: [Double] = []
    /// What a vocabulary head says of the response's tokens, as far as in hand.
    var values: [Double] = []
    /// The response in the track's own tokens; textual tracks only.
    var response = FollowedText()
    var tokens: [Int32] { response.tokens }
    /// log p of the scorer's own end token, for a row that ended.
    var endLogProbability = 0.0
    /// V of the row when it had `valuedCount` tokens.
    var value = 0.0
    var valuedCount = -1
  }

  let model: LanguageModel
  let adapter: Adapter?
  let prompt: [Int32]
  let isTextual: Bool
  let engine: Engine?
  private let hostedLogits: AlignedBuffer<Float>?  // [slots, vocabulary]
  /// log Σ exp of the logits that a row's token is drawn after; written by several workers.
  private let totals: UnsafeMutablePointer<Double>  // [slots]

  // What the request needs of it, set while planning.
  var needsLogits = false
  var needsLogProbabilities = false
  /// Scored later, but once for all successors of a row where that is the same for all: the logits
  /// after the prompt, and after a kept row's last token, are computed before the row is copied.
  var readsParents = false
  /// A vocabulary head whose whole vector is needed at every token.
  var tiltHead: Int32?
  /// A scalar head that values candidates at every token.
  var candidateHead: Int32?
  /// The head whose value of a row is a score.
  var scoreHead: ValueHead?

  var states: [State]
  /// Tokens of the prompt that were taken from an earlier request.
  var reusedCount = 0

  init(
    model: LanguageModel, adapter: Adapter?, prompt: [Int32], isTextual: Bool, engine: Engine?,
    slots: Int, capacity: Int
  ) throws(IVGError) {
    self.model = model
    self.adapter = adapter
    self.prompt = prompt
    self.isTextual = isTextual
    self.engine = engine
    states = [State](repeating: State(), count: slots)
    hostedLogits =
      engine == nil ? try AlignedBuffer(count: slots * model.tokenizer.vocabularySize) : nil
    totals = .allocate(capacity: slots)
    totals.initialize(repeating: .nan, count: slots)
    if let engine {
      for slot in 0..<slots {
        states[slot].sequence = engine.makeSequence(
          adapter: adapter, longest: prompt.count + capacity)
      }
    }
  }

  deinit {
    totals.deallocate()
    guard let engine else { return }
    for state in states { state.sequence.map(engine.removeSequence) }
  }

  /// Evaluated at every token.
  var isStepping: Bool { needsLogits || tiltHead != nil || candidateHead != nil }

  /// Evaluated in a step of rows that are, or are not, about to be copied.
  func steps(_ areParents: Bool) -> Bool { isStepping || areParents && readsParents }

  /// Takes room for `capacity` tokens a row, so that generating allocates nothing.
  func reserve(capacity: Int) {
    for slot in states.indices {
      if needsLogProbabilities { states[slot].logProbabilities.reserveCapacity(capacity) }
      if tiltHead != nil { states[slot].values.reserveCapacity(capacity) }
    }
  }

  /// The logits after the slot's last token: [output size].
  func logits(_ slot: Int) -> UnsafePointer<Float> {
    if let engine { return UnsafePointer(engine.logits(row: states[slot].logitsRow)) }
    return UnsafePointer(
      hostedLogits!.pointer + states[slot].logitsRow * model.tokenizer.vocabularySize)
  }

  /// The tilting head's vector after the slot's last token.
  func headVector(_ slot: Int) -> UnsafePointer<Float> {
    UnsafePointer(engine!.logits(row: states[slot].headRow))
  }

  /// Makes `target` a copy of `source`.
  func copy(_ source: Int, to target: Int) {
    guard source != target else { return }
    if let engine { engine.copy(states[source].sequence!, to: states[target].sequence!) }
    states[target].logitsRow = states[source].logitsRow
    states[target].headRow = states[source].headRow
    states[target].position = states[source].position
    states[target].endLogProbability = states[source].endLogProbability
    states[target].value = states[source].value
    states[target].valuedCount = states[source].valuedCount
    Self.replace(&states[target].logProbabilities, states[source].logProbabilities)
    Self.replace(&states[target].values, states[source].values)
    if isTextual { states[target].response = states[source].response }
  }

  private static func replace<Element>(_ target: inout [Element], _ source: [Element]) {
    target.removeAll(keepingCapacity: true)
    target.append(contentsOf: source)
  }

  /// Gives a slot's pages back.
  func release(_ slot: Int) {
    if let engine { engine.truncate(states[slot].sequence!, to: 0) }
    states[slot].position = -1
  }

  // MARK: Stepping

  /// Queues what `slot` lacks of the prompt and of the row's tokens, wanting back what a step
  /// needs. For tracks that take part in the step. Nothing is queued if the state is there already.
  /// A hosted track computes at once in `runHosted`. Returns whether something was queued.
  func queueStep(_ slot: Int, _ row: Row) throws(IVGError) -> Bool {
    guard states[slot].position != row.count else { return false }
    guard let engine else { return true }
    let sequence = states[slot].sequence!
    let last = prompt.count + row.count - 1
    if engine.length(sequence) > last { engine.truncate(sequence, to: last) }
    for position in engine.length(sequence)...last {
      try engine.append(token(at: position, of: row), to: sequence)
    }
    if needsLogits || readsParents { states[slot].logitsRow = engine.wantLogits() }
    if let tiltHead { states[slot].headRow = engine.wantHeadVector(tiltHead) }
    return true
  }

  /// Token `position` of prompt and response together, for a track with the base's vocabulary.
  func token(at position: Int, of row: Row) -> Int32 {
    position < prompt.count ? prompt[position] : row.tokens[position - prompt.count]
  }

  /// Declares the queued state of a slot computed.
  func commitStep(_ slot: Int, _ row: Row) { states[slot].position = row.count }

  /// Asks the host for the logits of `slots`.
  ///
  /// Throws `.callback` if the host reports failure.
  func runHosted(_ slots: [Int], rows: [Row]) throws(IVGError) {
    guard case .hosted(let host) = model.source, let hostedLogits else { return }
    let size = model.tokenizer.vocabularySize
    try host.compute(
      slots.map {
        prompt + UnsafeBufferPointer(start: rows[$0].tokens, count: rows[$0].count)
      }, into: slots.map { hostedLogits.pointer + $0 * size }, vocabularySize: size)
    for slot in slots { states[slot].logitsRow = slot }
  }

  /// Whether log p of the slot's next token, the row's token number `count`, is to be had from
  /// logits in hand.
  private func knowsNext(_ slot: Int, _ count: Int) -> Bool {
    needsLogProbabilities && (needsLogits || readsParents && states[slot].position == count)
  }

  /// Finds log Σ exp of the slot's logits, where `note` will need it. `count`: the row's tokens.
  /// Any worker.
  func normalize(_ slot: Int, count: Int) {
    guard knowsNext(slot, count) else { return }
    totals[slot] = Kernels.current.table.pointee.log_sum_exp(logits(slot), model.outputSize)
  }

  /// After a token was drawn: keeps its log-probability and its value, where the request needs
  /// them. To be called after `normalize`. `count`: the row's tokens with this one.
  ///
  /// Throws `.corruptFile` or `.callback` if the logits hold a NaN.
  func note(_ token: Int32, slot: Int, count: Int) throws(IVGError) {
    if knowsNext(slot, count - 1) {
      let total = totals[slot]
      guard total.isFinite else { throw damaged() }
      states[slot].logProbabilities.append(Double(logits(slot)[Int(token)]) - total)
    }
    if tiltHead != nil {
      let value = Double(headVector(slot)[Int(token)])
      states[slot].values.append(value)
      states[slot].value = value
      states[slot].valuedCount = count
    }
  }

  /// The error for logits or values that are no numbers.
  func damaged() -> IVGError { model.damaged() }
}
