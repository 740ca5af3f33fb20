import CIVGKernels
import Tensor
import Transformer

/// What a request takes beside the mapped files, known before anything is taken: an upper bound.
package struct MemoryPlan {
  struct TrunkPart {
    var trunk: Trunk
    var pages = 0
    var sequences = 0
    var logitRows = 0
    var results = 0
    var bytes = 0
  }

  private(set) var trunks: [TrunkPart] = []
  package private(set) var bytes = 0

  /// Throws `.contextFull` if a prompt and the tokens to come exceed a model's context.
  /// `promptCount`: plans for prompts of that many tokens (beside templates) rather than the
  /// request's own.
  init(_ request: Request, _ options: SessionOptions, promptCount: Int? = nil) throws(IVGError) {
    let slots = request.slotCount
    let maximum = request.options.maximumTokens
    let perPage = Engine.tokensPerPage
    for track in request.tracks where track.isNeeded {
      let prompt = track.prompt.count + (promptCount ?? 0)
      guard case .file(let model) = track.model.source, let trunk = model.trunk else {
        try Self.checkHosted(track, prompt, maximum)
        bytes += slots * track.model.outputSize * 4
        continue
      }
      let context = try Self.contextLength(of: trunk, options)
      // A scalar head reads its own end token behind a row that a stop string ends.
      let end = track.scoreHead?.kind == .scalar ? 1 : 0
      guard prompt + maximum + end <= context || track.isTextual && prompt < context else {
        throw IVGError(
          .contextFull,
          "\(track.model.label): a prompt of \(prompt) tokens and max_tokens \(maximum) exceed the "
            + "context of \(context) tokens")
      }
      var part = TrunkPart(trunk: trunk)
      let index = trunks.firstIndex { $0.trunk === trunk }
      if let index { part = trunks[index] }
      part.pages += (prompt + perPage - 1) / perPage + slots * ((maximum + 1) / perPage + 2)
      part.sequences += slots
      if track.needsLogits { part.logitRows += slots }
      if request.readsParents(track) { part.logitRows += request.search.width }
      if let head = track.tiltHead {
        switch head.kind {
        case .vocabulary: part.logitRows += slots
        case .scalar:
          let candidates = min(request.options.sampling.topK ?? 50, request.vocabularySize)
          part.pages += 2 * candidates
          part.sequences += candidates
          part.results += candidates
        }
      }
      if track.needsLogProbabilities { part.results += slots * (maximum + 1) }
      if track.scoreHead != nil { part.results += slots }
      if let index { trunks[index] = part } else { trunks.append(part) }
    }
    for index in trunks.indices {
      let part = trunks[index]
      trunks[index].bytes =
        part.pages * Engine.pageBytes(part.trunk) + part.results * 8
        + Engine.fixedBytes(
          trunk: part.trunk, threadCount: options.threadCount,
          contextLength: try Self.contextLength(of: part.trunk, options),
          sequences: part.sequences, logitRows: part.logitRows)
      bytes += trunks[index].bytes
    }
    bytes += slots * (Row.bytes(capacity: maximum) + maximum * 8 * request.tracks.count)
    bytes += Drawer.count(for: request, threadCount: options.threadCount) * Drawer.bytes(request)
  }

  private static func checkHosted(_ track: Request.TrackPlan, _ prompt: Int, _ maximum: Int)
    throws(IVGError)
  {
    guard case .hosted(let host) = track.model.source, prompt + maximum > host.contextLength else {
      return
    }
    throw IVGError(
      .contextFull,
      "the hosted model: a prompt of \(prompt) tokens and max_tokens \(maximum) exceed its context "
        + "of \(host.contextLength) tokens")
  }

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
    var context = options.contextLength ?? own
    let pageBytes = Engine.pageBytes(trunk)
    while true {
      let fixed = Engine.fixedBytes(
        trunk: trunk, threadCount: options.threadCount, contextLength: context, sequences: 1,
        logitRows: 1)
      let pages = (context + Engine.tokensPerPage - 1) / Engine.tokensPerPage
      let (bytes, overflow) = pages.multipliedReportingOverflow(by: pageBytes)
      if !overflow, fixed + bytes <= options.budget { return context }
      guard options.contextLength == nil, context > Engine.tokensPerPage else {
        throw IVGError(
          .outOfMemory,
          "a context of \(context) tokens needs \(overflow ? Int.max : fixed + bytes) bytes beside "
            + "the model file \(trunk.path); the memory budget is \(options.budget) bytes")
      }
      context = max(Engine.tokensPerPage, context * 7 / 8)
    }
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
