import Glibc
import Tensor
import Tokenizer
import Transformer

/// The one search machine: plain sampling, token-wise guidance, best of N, chunk-level beam search and
/// their combinations are settings of it (IVG §4.3; algorithms: "Chunk-level beam search").
///
///     prompt → forward → sample … sample → score → select → forward → …
///
/// A stage that throws `.cancelled` has changed nothing and runs again with the next call. Slots
/// 0 ..< rowCount hold the rows being drawn; the slots behind them hold the kept rows, best first.
///
/// Files: this one drives the stages; `Search+Forward`, `Search+Sample`, `Search+Score` and
/// `Search+Select` are the stages; `Search+Stream` turns rows into text.
package final class Search: Generation {
  enum Stage { case prompt, forward, sample, score, done }

  let request: Request
  let tracks: [Track]
  let engines: [Engine]
  let rows: [Row]  // [slots]
  let cancel: CancelFlag
  private let clock: StepClock?
  let team: ThreadTeam
  let drawers: [Drawer]  // at most one for each of the team's workers
  private(set) var drawProgram: DrawProgram?
  /// Slots whose tokens are being drawn.
  var waiting: [Int] = []
  let drawn: UnsafeMutablePointer<Drawn>  // [rowCount]
  let tilts: [Tilt]
  let masked: [Int32]
  let endTokens: [Int32]
  var pending: [Track.Pending] = []

  var stage = Stage.prompt
  /// Tokens that every live row has.
  var position = 0
  /// Tokens until the next selection.
  var left: Int
  /// True while the kept rows wait to be copied to the slots.
  var isContracted = false
  var keptCount = 0
  package var drawnCount = 0
  var failure: IVGError?

  // What the last step brought.
  var stepText: [UInt8] = []
  var assembler = UTF8Assembler()
  var emittedLength = 0
  let topTokens: UnsafeMutablePointer<Int32>  // [64]
  let topLogProbabilities: UnsafeMutablePointer<Float>  // [64]
  var topCount = 0

  // Clock, in seconds.
  let begun: Double
  var firstTokenAt: Double?
  var endedAt: Double?

  /// A value that changes every token's logits.
  enum Tilt {
    /// work += weight · (tuned − untuned), IVG eq. 6
    case implicit(tuned: Int, untuned: Int, weight: Float)
    /// work += weight · Q, IVG eq. 7 with a vocabulary head
    case vocabulary(track: Int, weight: Float)
    /// The candidates' own values, IVG eq. 7 with a scalar head
    case candidates(track: Int, head: ValueHead, weight: Float)
  }

  /// Takes rows and buffers for a planned request. `engine` gives the engine of a trunk.
  ///
  /// Throws `.outOfMemory`.
  init(
    request: Request, team: ThreadTeam, cancel: CancelFlag, clock: StepClock? = nil,
    engine: (Trunk) throws(IVGError) -> Engine
  ) throws(IVGError) {
    self.request = request
    self.cancel = cancel
    self.clock = clock
    begun = Self.now()
    let slots = request.slotCount
    var tracks: [Track] = []
    var engines: [Engine] = []
    for plan in request.tracks {
      var found: Engine?
      if let trunk = plan.trunk { found = try engine(trunk) }
      let track = try Track(
        model: plan.model, adapter: plan.adapter, prompt: plan.prompt, isTextual: plan.isTextual,
        engine: found, slots: slots, capacity: request.options.maximumTokens)
      track.needsLogits = plan.needsLogits
      track.needsLogProbabilities = plan.needsLogProbabilities
      track.readsParents = request.readsParents(plan)
      track.scoreHead = plan.scoreHead
      if let head = plan.tiltHead, let found {
        switch head.kind {
        case .vocabulary: track.tiltHead = found.register(head)
        case .scalar: track.candidateHead = found.register(head)
        }
      }
      track.reserve(capacity: request.options.maximumTokens)
      tracks.append(track)
      if let found, !engines.contains(where: { $0 === found }) { engines.append(found) }
    }
    self.tracks = tracks
    self.engines = engines
    let matcher = try StopMatcher(stops: request.options.stopStrings)
    rows = (0..<slots).map { _ in
      Row(capacity: request.options.maximumTokens, matcher: matcher)
    }
    self.team = team
    var drawers: [Drawer] = []
    for _ in 0..<Drawer.count(for: request, threadCount: team.threadCount) {
      drawers.append(try Drawer(request))
    }
    self.drawers = drawers
    waiting.reserveCapacity(request.rowCount)
    tilts = Self.tilts(of: request)
    let tokenizer = request.base.tokenizer
    masked =
      request.options.bannedTokens
      + (0..<Int32(request.vocabularySize)).filter { !tokenizer.isReal($0) }
    endTokens =
      request.options.ignoresEnd ? [] : tokenizer.endTokens + request.options.endTokens
    drawn = .allocate(capacity: request.rowCount)
    drawn.initialize(repeating: Drawn(), count: request.rowCount)
    topTokens = .allocate(capacity: 64)
    topLogProbabilities = .allocate(capacity: 64)
    left = request.search.chunk ?? Int.max
    stepText.reserveCapacity(1024)
    pending.reserveCapacity(slots * 4)
    drawProgram = DrawProgram(self)
  }

  deinit {
    drawn.deinitialize(count: request.rowCount)
    drawn.deallocate()
    topTokens.deallocate()
    topLogProbabilities.deallocate()
  }

  /// Weights on one pair of tracks add up first, so that opposite ones cancel exactly.
  private static func tilts(of request: Request) -> [Tilt] {
    var pairs: [(tuned: Int, untuned: Int, weight: Double)] = []
    for plan in request.implicits where plan.role.contains(.tilt) {
      if let index = pairs.firstIndex(where: {
        $0.tuned == plan.tuned && $0.untuned == plan.untuned
      }) {
        pairs[index].weight += plan.weight
      } else {
        pairs.append((plan.tuned, plan.untuned, plan.weight))
      }
    }
    var tilts: [Tilt] = []
    for pair in pairs where pair.weight != 0 && pair.tuned != pair.untuned {
      tilts.append(
        .implicit(tuned: pair.tuned, untuned: pair.untuned, weight: Float(pair.weight)))
    }
    var heads: [(track: Int, head: ValueHead, weight: Double)] = []
    for plan in request.explicits where plan.role.contains(.tilt) {
      if let index = heads.firstIndex(where: { $0.track == plan.track }) {
        heads[index].weight += plan.weight
      } else {
        heads.append((plan.track, plan.head, plan.weight))
      }
    }
    for (track, head, weight) in heads where weight != 0 {
      switch head.kind {
      case .vocabulary: tilts.append(.vocabulary(track: track, weight: Float(weight)))
      case .scalar: tilts.append(.candidates(track: track, head: head, weight: Float(weight)))
      }
    }
    return tilts
  }

  static func now() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }

  var isSingle: Bool { rows.count == 1 }

  /// One token of a single row, or one chunk of several; nil when the text has ended.
  ///
  /// Throws `.cancelled`, after which it may be called again; any other error ends the request and is
  /// thrown again by every further call.
  package func next() throws(IVGError) -> Step? {
    if let failure { throw failure }
    if cancel.take() { throw IVGError(.cancelled, "cancelled") }
    do {
      return try run()
    } catch {
      if error.kind == .cancelled {
        _ = cancel.take()
      } else {
        failure = error
      }
      throw error
    }
  }

  private func run() throws(IVGError) -> Step? {
    while true {
      switch stage {
      case .prompt:
        try readPrompt()
        stage = .sample
      case .forward:
        try forward()
        stage = .sample
      case .sample:
        clock?.lap(.other)
        try sample()
        clock?.lap(.sample)
        if firstTokenAt == nil { firstTokenAt = Self.now() }
        let isFinished = rows[..<request.rowCount].allSatisfy { $0.state != .live }
        if isSingle {
          stage = isFinished ? (request.hasScores ? .score : .done) : .forward
          if !isFinished { return tokenStep() }
          if stage == .done { return finishSingle() }
        } else {
          stage = isFinished || left == 0 ? .score : .forward
        }
      case .score:
        clock?.lap(.other)
        try score()
        clock?.lap(.score)
        if isSingle { return finishSingle() }
        select()
        clock?.lap(.score)
        let isFinished = rows[request.rowCount...].prefix(keptCount).allSatisfy {
          $0.state == .finished
        }
        stage = isFinished ? .done : .forward
        if isFinished { endedAt = Self.now() }
        return chunkStep(isLast: isFinished)
      case .done:
        return nil
      }
    }
  }

  private func finishSingle() -> Step {
    stage = .done
    endedAt = Self.now()
    return tokenStep()
  }
}
