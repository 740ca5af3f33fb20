import CIVGKernels
import Tensor
import Transformer

/// What a request takes beside the mapped files, known before anything is taken: an upper bound.
package struct MemoryPlan {
  package struct TrunkPart {
    package var trunk: Trunk
    package var pages = 0
    var sequences = 0
    var logitRows = 0
    var results = 0
    var bytes = 0

    /// Of these, bytes of logits and results.
    var outputBytes: Int { logitRows * trunk.outputSize * 4 + results * 8 }
  }

  package private(set) var trunks: [TrunkPart] = []
  package private(set) var bytes = 0
  /// Most tokens of prompt and answer of the base and of the nudger, in a request with nudging.
  private(set) var nudgingLimits: [Int] = []

  /// Throws `.contextFull` if a prompt and the tokens to come exceed a model's context.
  /// `promptCount`: plans for prompts of that many tokens (beside templates) rather than the
  /// request's own.
  init(_ request: Request, _ options: SessionOptions, promptCount: Int? = nil) throws(IVGError) {
    let slots = request.slotCount
    let maximum = request.options.maximumTokens
    let perPage = Engine.tokensPerPage
    if let nudging = request.nudging {
      for index in request.tracks.indices { try add(request, index, nudging, options, promptCount) }
    }
    for track in request.tracks where track.isNeeded && request.nudging == nil {
      let prompt = Self.promptLength(track, promptCount)
      guard case .file(let model) = track.model.source, let trunk = model.trunk else {
        try Self.checkHosted(track, prompt, maximum)
        bytes += slots * track.model.outputSize * 4
        continue
      }
      let context = try Self.contextLength(of: trunk, options)
      // A scalar head reads its own end token behind a row that a stop string ends.
      let end = track.scoreHead?.kind == .scalar ? 1 : 0
      guard prompt + maximum + end <= context || track.isTextual && prompt < context else {
        throw Self.tooLong(track, prompt, maximum, context)
      }
      var part = TrunkPart(trunk: trunk)
      let index = trunks.firstIndex { $0.trunk === trunk }
      if let index { part = trunks[index] }
      // A track of another vocabulary never holds more than its context, whatever `maximum` is.
      let room = min(maximum, context - prompt)
      part.pages += (prompt + perPage - 1) / perPage + Self.answerPages(track, request, room)
      part.sequences += slots
      if track.needsLogits { part.logitRows += request.rowCount }
      if request.readsParents(track) { part.logitRows += request.search.width }
      if let head = track.tiltHead {
        switch head.kind {
        case .vocabulary: part.logitRows += request.rowCount
        case .scalar:
          let candidates = min(request.options.sampling.topK ?? 50, request.vocabularySize)
          part.pages += 2 * candidates
          part.sequences += candidates
          part.results += candidates
        }
      }
      if track.needsLogProbabilities { part.results += slots * (room + 1) }
      if track.scoreHead != nil { part.results += slots }
      if let index { trunks[index] = part } else { trunks.append(part) }
    }
    for index in trunks.indices {
      let part = trunks[index]
      trunks[index].bytes = Self.sum(
        Self.product(part.pages, Engine.pageBytes(part.trunk)), Self.product(part.results, 8),
        Engine.fixedBytes(
          trunk: part.trunk, threadCount: options.threadCount,
          contextLength: try Self.contextLength(of: part.trunk, options),
          sequences: part.sequences, logitRows: part.logitRows))
      bytes = Self.sum(bytes, trunks[index].bytes)
    }
    bytes = Self.sum(
      bytes, Self.product(slots, Row.bytes(capacity: maximum) + maximum * 8 * request.tracks.count))
    guard request.nudging == nil else { return }
    bytes = Self.sum(
      bytes,
      Self.product(
        Drawer.count(for: request, threadCount: options.threadCount), Drawer.bytes(request)))
  }

  /// Pages of all rows' answers of at most `room` tokens.
  ///
  /// Every page belongs to a row that is drawn: the kept rows, from a selection until they are copied, have only pages
  /// that those rows had. At worst no two rows share a page of their answers. But rows that were copied from one
  /// kept row share all but what is new since the selection, so that W answers and N chunks bound them too. A
  /// scorer reads an end token behind the answer, and goes back by up to two tokens of what is shared; one of
  /// another vocabulary goes back as far as the text makes it.
  private static func answerPages(_ track: Request.TrackPlan, _ request: Request, _ room: Int)
    -> Int
  {
    /// Most pages that begin, or are copied, for so many tokens behind others.
    func pages(_ tokens: Int) -> Int { tokens / Engine.tokensPerPage + 2 }
    let apart = request.rowCount * pages(room + 1)
    guard let chunk = request.search.chunk, chunk < room, !track.isTextual else { return apart }
    return min(apart, request.search.width * pages(room + 1) + request.rowCount * pages(chunk + 2))
  }

  // Figures beyond any memory become the largest number there is, and exceed every budget.

  private static func sum(_ values: Int...) -> Int {
    values.reduce(0) { sum, value in
      let (result, overflow) = sum.addingReportingOverflow(value)
      return overflow ? .max : result
    }
  }

  private static func product(_ a: Int, _ b: Int) -> Int {
    let (result, overflow) = a.multipliedReportingOverflow(by: b)
    return overflow ? .max : result
  }

  /// One side of nudging. A text that the other side wrote may be more tokens to it than to the other: by how
  /// much is bounded here, and what goes beyond is an error of the request.
  private mutating func add(
    _ request: Request, _ index: Int, _ nudging: NudgingOptions, _ options: SessionOptions,
    _ promptCount: Int?
  ) throws(IVGError) {
    let track = request.tracks[index]
    let maximum = request.options.maximumTokens
    let prompt = Self.promptLength(track, promptCount)
    let perToken = request.tracks[1].isTextual ? 16 : 4
    let context: Int
    switch track.model.source {
    case .hosted(let host): context = host.contextLength
    case .file: context = try Self.contextLength(of: track.model.trunk(for: "nudging"), options)
    }
    guard prompt + maximum <= context || track.isTextual && prompt < context else {
      throw Self.tooLong(track, prompt, maximum, context)
    }
    let limit = min(context, prompt + maximum * perToken + nudging.burst)
    nudgingLimits.append(limit)
    bytes += limit * 64 + maximum * 256
    let group = NudgingSide.groupLimit
    guard case .file(let model) = track.model.source, let trunk = model.trunk else {
      bytes += group * track.model.outputSize * 4
      return
    }
    let perPage = Engine.tokensPerPage
    var part = TrunkPart(trunk: trunk)
    let known = trunks.firstIndex { $0.trunk === trunk }
    if let known { part = trunks[known] }
    part.pages += limit / perPage + 2
    part.sequences += 1
    part.logitRows += index == 0 ? group : 1
    if index == 0 {
      part.pages += group * (NudgingSide.forkTokens / perPage + 2)
      part.sequences += group
    }
    if let known { trunks[known] = part } else { trunks.append(part) }
  }

  /// Tokens of a track's prompt: its own, or at most, if the request's prompt is to have `count` tokens.
  private static func promptLength(_ track: Request.TrackPlan, _ count: Int?) -> Int {
    guard let count else { return track.prompt.count }
    return track.isBare ? max(count, 1) : track.prompt.count + count
  }

  private static func checkHosted(_ track: Request.TrackPlan, _ prompt: Int, _ maximum: Int)
    throws(IVGError)
  {
    guard case .hosted(let host) = track.model.source, prompt + maximum > host.contextLength else {
      return
    }
    throw tooLong(track, prompt, maximum, host.contextLength)
  }

  private static func tooLong(
    _ track: Request.TrackPlan, _ prompt: Int, _ maximum: Int, _ context: Int
  ) -> IVGError {
    IVGError(
      .contextFull,
      "\(track.model.label): a prompt of \(prompt) tokens and max_tokens \(maximum) exceed the "
        + "context of \(context) tokens")
  }

  /// What the plan has for a trunk.
  func part(of trunk: Trunk) -> TrunkPart? { trunks.first { $0.trunk === trunk } }

  func exceeded(_ budget: Int) -> IVGError {
    IVGError(
      .outOfMemory,
      "the request needs \(bytes) bytes beside the model files; the memory budget is \(budget) "
        + "bytes (fewer rows, fewer max_tokens or a shorter prompt need less)")
  }

  // MARK: Context

  /// Most pages of an engine. More than a budget could hold, and bounded, since each costs a few bytes.
  static func pageLimit(of trunk: Trunk, _ options: SessionOptions) -> Int {
    min(max(options.budget / Engine.pageBytes(trunk), 1), 1 << 18)
  }

  /// Tokens a sequence may hold: what the options ask for, at most what the model was made for; by
  /// default the model's context, capped so that one sequence fits the budget.
  ///
  /// Throws `.invalidArgument` if the options ask for more than the model was made for, `.outOfMemory`
  /// if the budget does not even hold a short sequence.
  static func contextLength(of trunk: Trunk, _ options: SessionOptions) throws(IVGError) -> Int {
    let own = trunk.configuration.contextLength
    if let asked = options.contextLength, asked > own {
      throw IVGError(
        .invalidArgument,
        "context_length is \(asked); the model \(trunk.path) was made for \(own) tokens")
    }
    let pageBytes = Engine.pageBytes(trunk)
    /// Bytes of a context with one row of that many tokens.
    func bytes(_ context: Int, filled: Int) -> Int {
      let pages = (filled + Engine.tokensPerPage - 1) / Engine.tokensPerPage
      let (bytes, overflow) = pages.multipliedReportingOverflow(by: pageBytes)
      let fixed = Engine.fixedBytes(
        trunk: trunk, threadCount: options.threadCount, contextLength: context, sequences: 1,
        logitRows: 1)
      return overflow ? .max / 2 : fixed + bytes
    }
    // What is asked for need not be filled: a request is measured by what it needs.
    if let asked = options.contextLength {
      guard bytes(asked, filled: 1) <= options.budget else {
        throw tooLarge(asked, trunk, bytes(asked, filled: 1), options)
      }
      return asked
    }
    if bytes(own, filled: own) <= options.budget { return own }
    let least = min(own, Engine.tokensPerPage)
    guard bytes(least, filled: least) <= options.budget else {
      throw tooLarge(least, trunk, bytes(least, filled: least), options)
    }
    // The largest that fits, which is below `own`.
    var (fits, exceeds) = (least, own)
    while exceeds - fits > 1 {
      let middle = (fits + exceeds) / 2
      if bytes(middle, filled: middle) <= options.budget { fits = middle } else { exceeds = middle }
    }
    return fits
  }

  private static func tooLarge(
    _ context: Int, _ trunk: Trunk, _ bytes: Int, _ options: SessionOptions
  ) -> IVGError {
    IVGError(
      .outOfMemory,
      "a context of \(context) tokens needs \(bytes) bytes beside the model file \(trunk.path); the "
        + "memory budget is \(options.budget) bytes")
  }
}

extension MemoryPlan {
  /// Bytes that a session with one such request takes beside the mapped files.
  package static func required(
    base: LanguageModel, session: SessionOptions, options: GenerateOptions, guidance: Guidance?,
    promptCount: Int
  ) throws(IVGError) -> Int {
    try options.check(vocabularySize: base.tokenizer.vocabularySize)
    let request = try Request(base: base, prompt: [], options: options, guidance: guidance)
    return try MemoryPlan(request, session, promptCount: promptCount).bytes
  }
}
