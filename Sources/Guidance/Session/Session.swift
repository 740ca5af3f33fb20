import CIVGKernels
import Glibc
import Tensor
import Tokenizer
import Transformer

/// The state of generating for one base model: a team of threads, one engine for each trunk in use,
/// one request at a time, and what earlier requests computed of their prompts.
///
/// Threads: one call at a time; `cancel` may be raised by any thread at any time.
package final class Session {
  package let base: LanguageModel
  package let cancel = CancelFlag()
  /// Bytes that may be taken beside the mapped files.
  package let budget: Int
  /// Where the time goes, if the options ask for it.
  package let clock: StepClock?
  private let team: ThreadTeam
  private let options: SessionOptions
  private var engines: [Engine] = []
  private var prefixes = PrefixCache()
  /// The current request.
  package private(set) var generation: (any Generation)?
  /// Pages that the host's own sequences hold, and bytes beside them.
  var sequencePages = 0
  var sequenceBytes = 0
  /// What the current request was planned with.
  package private(set) var plan: MemoryPlan?

  /// Throws `.invalidArgument`, `.unsupported` for a base that holds only a vocabulary,
  /// `.outOfMemory`.
  package init(base: LanguageModel, options: SessionOptions) throws(IVGError) {
    self.base = base
    self.options = options
    budget = options.budget
    clock = options.isTimed ? StepClock() : nil
    if case .file = base.source { _ = try base.trunk(for: "a session") }
    team = try ThreadTeam(threadCount: options.threadCount)
    if case .file = base.source { _ = try engine(for: base.trunk(for: "a session")) }
  }

  /// The current request, if the search machine runs it.
  package var search: Search? { generation as? Search }

  // MARK: Requests

  /// Starts a request; one that was under way is dropped. Computes nothing yet.
  ///
  /// Throws `.invalidArgument`, `.contextFull`, `.outOfMemory`, `.mismatch`, `.unsupported`.
  package func begin(prompt: [UInt8], options: GenerateOptions, guidance: Guidance?)
    throws(IVGError)
  {
    try options.check(vocabularySize: base.tokenizer.vocabularySize)
    let request = try Request(base: base, prompt: prompt, options: options, guidance: guidance)
    generation = try start(request)
  }

  /// The next step of the request, nil when it has ended.
  package func next() throws(IVGError) -> Step? {
    guard let generation else {
      throw IVGError(.invalidArgument, "no request has begun on this session")
    }
    clock?.start()
    defer { clock?.lap(.other) }
    return try generation.next()
  }

  /// Bytes beside the mapped files, as compared with the budget.
  package var memoryUsed: Int { plan?.bytes ?? 0 }

  /// Starts what the request asks for.
  private func start(_ request: Request) throws(IVGError) -> any Generation {
    guard let nudging = request.nudging else { return try startSearch(request) }
    let plan = try prepare(request)
    let generation = try Nudging(request: request, options: nudging, plan: plan, cancel: cancel) {
      trunk throws(IVGError) in
      try engine(for: trunk)
    }
    generation.reusePrefixes(prefixes)
    return generation
  }

  private func startSearch(_ request: Request) throws(IVGError) -> Search {
    _ = try prepare(request)
    let search = try Search(request: request, team: team, cancel: cancel, clock: clock) {
      trunk throws(IVGError) in
      try engine(for: trunk)
    }
    search.reusePrefixes(prefixes)
    return search
  }

  /// Plans memory, makes room and takes it.
  private func prepare(_ request: Request) throws(IVGError) -> MemoryPlan {
    generation?.keepPrefixes(in: &prefixes)
    generation = nil
    self.plan = nil
    for engine in engines {
      engine.releaseAdapters()
      engine.releaseHeads()
    }
    let plan = try MemoryPlan(request, options)
    guard plan.bytes <= budget else { throw plan.exceeded(budget) }
    try makeRoom(for: plan)
    for part in plan.trunks {
      try engine(for: part.trunk).reserve(logitRows: part.logitRows, results: part.results)
    }
    self.plan = plan
    return plan
  }

  /// Lets go of what is only kept for later requests, as far as the plan needs its memory: prefixes, engines
  /// that only earlier requests used, pages that are free, logits of earlier batches.
  ///
  /// Throws `.outOfMemory` if the host's own sequences leave too little.
  private func makeRoom(for plan: MemoryPlan) throws(IVGError) {
    let available = budget - plan.bytes
    func isShort() -> Bool { keptBytes(beside: plan) > available }
    dropOldEngines(beside: plan)
    if isShort() { for engine in engines { engine.trim() } }
    if isShort() { for engine in engines { try engine.dropOutputs() } }
    if isShort() { dropEngines(beside: plan) }
    if isShort() {
      dropPrefixes()
      for engine in engines { engine.trim() }
      dropEngines(beside: plan)
    }
    let held = keptBytes(beside: plan)
    guard held <= available else {
      throw IVGError(
        .outOfMemory,
        "the request needs \(plan.bytes) bytes beside the model files and sequences hold \(held); the "
          + "memory budget is \(budget) bytes")
    }
    for part in plan.trunks {
      let engine = try engine(for: part.trunk)
      let free = engine.pageLimit - engine.usedPages
      guard free >= part.pages else {
        throw IVGError(
          .outOfMemory,
          "the request needs \(part.pages) pages of keys and values; \(free) of \(engine.pageLimit) "
            + "are free")
      }
    }
  }

  /// Bytes that the session holds and `plan` does not count: pages in use or not given back, logits of the
  /// host's sequences, and what engines hold besides.
  private func keptBytes(beside plan: MemoryPlan) -> Int {
    engines.reduce(sequenceBytes + fixedBytes(beside: plan)) { $0 + $1.residentBytes }
  }

  /// Bytes beside pages of engines that `plan` (nil: no plan) does not use, and of outputs beyond its own.
  private func fixedBytes(beside plan: MemoryPlan?) -> Int {
    engines.reduce(0) { sum, engine in
      let part = plan?.part(of: engine.trunk)
      return sum + (part.map { max(0, engine.outputBytes - $0.outputBytes) } ?? engine.heldBytes)
    }
  }

  /// Guides that earlier requests used are kept, as far as they are few.
  private static let idleEngineLimit = 4

  private func dropOldEngines(beside plan: MemoryPlan) {
    let idle = engines.filter { plan.part(of: $0.trunk) == nil }
    for engine in idle.dropLast(Self.idleEngineLimit) { prefixes.drop(of: engine) }
    if idle.count > Self.idleEngineLimit { dropEngines(beside: plan) }
  }

  /// Lets go of engines that hold no sequence. That of the base stays: sequences without tokens may have it.
  private func dropEngines(beside plan: MemoryPlan) {
    var baseTrunk: Trunk?
    if case .file(let model) = base.source { baseTrunk = model.trunk }
    engines.removeAll {
      $0.usedPages == 0 && plan.part(of: $0.trunk) == nil && $0.trunk !== baseTrunk
    }
  }

  // MARK: Scores

  /// S of texts as answers to a prompt, by the SCORE parts of `guidance`. A request under way is
  /// dropped. `ended`: the scorer sees its own end token behind them.
  ///
  /// Throws as `begin`; `.invalidArgument` without a SCORE part; `.cancelled`, `.callback`.
  package func score(
    _ guidance: Guidance, prompt: [UInt8], texts: [UnsafeRawBufferPointer], ended: Bool
  ) throws(IVGError) -> [Double] {
    if cancel.take() { throw IVGError(.cancelled, "cancelled") }
    clock?.start()
    defer { clock?.lap(.score) }
    var scores = [Double](repeating: 0, count: texts.count)
    for group in try groups(texts, guidance, prompt) {
      let part = group.map { texts[$0] }
      let search = try startSearch(textRequest(guidance, prompt, part))
      do {
        for (index, score) in zip(group, try search.score(texts: part, ended: ended)) {
          scores[index] = score
        }
      } catch {
        if error.kind == .cancelled { _ = cancel.take() }
        throw error
      }
    }
    return scores
  }

  /// The places of texts that are scored together: up to 16, all of them long or all of them short to every
  /// model (`Trunk.isLong`), so that no text's score depends on the others.
  private func groups(
    _ texts: [UnsafeRawBufferPointer], _ guidance: Guidance, _ prompt: [UInt8]
  ) throws(IVGError) -> [[Int]] {
    let none = try textRequest(guidance, prompt, [])
    guard none.namesScores else {
      throw IVGError(.invalidArgument, "the guidance has no part in the role SCORE")
    }
    let mayBeLong = none.tracks.contains { $0.isNeeded && $0.trunk?.isLong(.max) == true }
    var kinds: [(isLong: [Bool], texts: [Int])] = []
    for (index, text) in texts.enumerated() {
      let maximum =
        mayBeLong ? try textRequest(guidance, prompt, [text]).options.maximumTokens : 0
      let isLong = none.tracks.map { $0.trunk?.isLong($0.prompt.count + maximum) == true }
      if let known = kinds.firstIndex(where: { $0.isLong == isLong }) {
        kinds[known].texts.append(index)
      } else {
        kinds.append((isLong, [index]))
      }
    }
    return kinds.flatMap { kind in
      stride(from: 0, to: kind.texts.count, by: 16).map {
        Array(kind.texts[$0..<min($0 + 16, kind.texts.count)])
      }
    }
  }

  /// A request that holds `texts` in place of drawn rows, with room for the most tokens that one of
  /// them is to any of the scorers.
  private func textRequest(
    _ guidance: Guidance, _ prompt: [UInt8], _ texts: [UnsafeRawBufferPointer]
  ) throws(IVGError) -> Request {
    var options = GenerateOptions()
    options.maximumTokens = 1
    let search = try SearchOptions(width: 1, successors: max(texts.count, 1), chunk: 0)
    let draft = try Request(
      base: base, prompt: prompt, options: options, guidance: guidance, search: search,
      asTexts: true)
    for track in draft.tracks where track.isNeeded {
      let tokenizer = track.model.tokenizer
      for text in texts {
        let tokens = try tokenizer.encode(
          text, parseSpecial: false, addBegin: false, continues: true)
        options.maximumTokens = max(options.maximumTokens, tokens.count + 1)
      }
    }
    return try Request(
      base: base, prompt: prompt, options: options, guidance: guidance, search: search,
      asTexts: true)
  }

  // MARK: Engines and sequences

  /// Makes sure that the host's sequences may take `pages` more on `engine`, and a batch that many rows of logits,
  /// beside the current request.
  ///
  /// Throws `.outOfMemory`.
  func reserveSequences(pages: Int, logitRows: Int, on engine: Engine) throws(IVGError) {
    let pageBytes = Engine.pageBytes(engine.trunk)
    let bytes = (sequencePages + pages) * pageBytes + sequenceBytes
    /// What the session holds beside the sequences, once the batch has its logits.
    func held() -> Int {
      let rows = logitRows * engine.trunk.outputSize * MemoryLayout<Float>.stride
      return memoryUsed + fixedBytes(beside: plan) + max(0, rows - engine.outputBytes)
    }
    if held() + bytes > budget { try shrinkOutputs() }
    guard held() + bytes <= budget else {
      throw IVGError(
        .outOfMemory,
        "sequences would hold \(bytes) bytes and the session holds \(held()) beside them; the memory "
          + "budget is \(budget) bytes")
    }
    // Prefixes and free pages, and the request's own pages, which are counted twice here.
    let resident = engines.reduce(0) { $0 + $1.residentBytes } - sequencePages * pageBytes
    if held() + bytes + resident > budget || engine.pageLimit - engine.usedPages < pages {
      dropPrefixes()
      for engine in engines { engine.trim() }
    }
  }

  /// Gives back what batches of the host's sequences needed more than the current request does.
  private func shrinkOutputs() throws(IVGError) {
    for engine in engines {
      let part = plan?.part(of: engine.trunk)
      guard engine.outputBytes > part?.outputBytes ?? 0 else { continue }
      generation?.forgetLogits(of: engine)
      try engine.dropOutputs()
      if let part { try engine.reserve(logitRows: part.logitRows, results: part.results) }
    }
  }

  /// The engine of a trunk, made at its first use.
  package func engine(for trunk: Trunk) throws(IVGError) -> Engine {
    if let found = engines.first(where: { $0.trunk === trunk }) { return found }
    let engine = try Engine(
      trunk: trunk, team: team,
      contextLength: try MemoryPlan.contextLength(of: trunk, options),
      pageLimit: MemoryPlan.pageLimit(of: trunk, options), clock: clock)
    engines.append(engine)
    return engine
  }

  /// Frees pages that are only kept for later requests.
  package func dropPrefixes() { for engine in engines { prefixes.drop(of: engine) } }
}

/// A session's own options, with defaults filled in.
package struct SessionOptions {
  package var threadCount: Int
  /// nil: the model's, capped by the budget.
  package var contextLength: Int?
  package var budget: Int
  /// Whether the session says where its time goes.
  package var isTimed: Bool

  /// `0` stands for the default.
  ///
  /// Throws `.invalidArgument` naming the field and the bound.
  package init(threadCount: Int, contextLength: Int, budget: UInt64, isTimed: Bool = false)
    throws(IVGError)
  {
    guard (0...1024).contains(threadCount) else {
      throw IVGError(
        .invalidArgument, "thread_count is \(threadCount); it must be within 0...1024")
    }
    self.threadCount = threadCount == 0 ? ThreadTeam.processorCount : threadCount
    self.contextLength = contextLength == 0 ? nil : contextLength
    self.isTimed = isTimed
    let machine = Int(sysconf(Int32(_SC_PHYS_PAGES))) * Int(sysconf(Int32(_SC_PAGESIZE)))
    self.budget = budget == 0 ? machine / 4 * 3 : Int(clamping: budget)
  }
}
