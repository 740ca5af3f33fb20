import Tensor
import Tokenizer
import Transformer

/// A request as it was planned: prompts found, models checked against each other, one track for each
/// distinct (model, adapter, prompt).
struct Request {
  /// One track-to-be.
  struct TrackPlan {
    var model: LanguageModel
    var adapter: Adapter?
    var prompt: [Int32]
    /// Whether the prompt stands alone, without a template around it.
    var isBare: Bool
    var isTextual: Bool
    var needsLogits = false
    var needsLogProbabilities = false
    var tiltHead: ValueHead?
    var scoreHead: ValueHead?

    /// nil for a hosted model.
    var trunk: Trunk? {
      if case .file(let model) = model.source { return model.trunk }
      return nil
    }

    /// Not read at every token: its log-probabilities are only needed for scores.
    var isScoredLater: Bool {
      needsLogProbabilities && !needsLogits && tiltHead == nil && !isTextual && !model.isHosted
    }

    /// False for a base that only stands by while texts are scored: it costs nothing.
    var isNeeded: Bool {
      needsLogits || needsLogProbabilities || tiltHead != nil || scoreHead != nil
    }
  }

  /// A value with its tracks, by index; `part` is its number among the guidance's implicit and explicit
  /// values.
  struct ImplicitPlan {
    var part: Int
    var tuned: Int
    var untuned: Int
    var weight: Double
    var role: Role
    var lengthAverage: Bool
  }

  struct ExplicitPlan {
    var part: Int
    var track: Int
    var head: ValueHead
    var weight: Double
    var role: Role
  }

  let options: GenerateOptions
  let search: SearchOptions
  let prompt: [UInt8]
  let base: LanguageModel
  /// Set for a request of two sides instead of rows: its tracks are then base and nudger.
  let nudging: NudgingOptions?
  private(set) var tracks: [TrackPlan] = []
  private(set) var implicits: [ImplicitPlan] = []
  private(set) var explicits: [ExplicitPlan] = []
  private(set) var scorers: [(scorer: HostScorer, weight: Double)] = []
  /// Whether the guidance has a part in the role SCORE, be its weight zero.
  private(set) var namesScores = false
  /// The ids 0 ..< vocabularySize may be generated.
  private(set) var vocabularySize: Int
  /// The guidance's implicit and explicit values, for attribution; those of weight zero count too.
  private(set) var partCount = 0

  /// Rows that are drawn together, and slots to keep the best of them.
  var rowCount: Int { search.rowCount }
  var slotCount: Int { rowCount == 1 ? 1 : rowCount + search.width }
  /// Whether a track is read before rows are copied: see `Track.readsParents`.
  func readsParents(_ track: TrackPlan) -> Bool { track.isScoredLater && rowCount > 1 }
  var hasScores: Bool {
    !scorers.isEmpty || implicits.contains { $0.role.contains(.score) }
      || explicits.contains { $0.role.contains(.score) }
  }

  /// Plans a request. `asTexts`: every track follows text, for scoring texts that came from elsewhere.
  ///
  /// Throws `.mismatch` where vocabularies differ in a tilt; `.invalidArgument`, `.unsupported`.
  init(
    base: LanguageModel, prompt: [UInt8], options: GenerateOptions, guidance: Guidance?,
    search: SearchOptions? = nil, asTexts: Bool = false
  ) throws(IVGError) {
    self.base = base
    self.prompt = prompt
    self.options = options
    nudging = asTexts ? nil : guidance?.nudging
    if let search = search ?? guidance?.search {
      self.search = search
    } else {
      self.search = try SearchOptions(width: 1, successors: 1, chunk: 0)
    }
    vocabularySize = min(base.tokenizer.vocabularySize, base.outputSize)
    var baseTrack = try plan(
      Guide(model: base, adapter: nil, template: options.template), needsOneVocabulary: true,
      asTexts: asTexts, scores: false)
    baseTrack.needsLogits = !asTexts
    baseTrack.needsLogProbabilities = options.keepsAttribution && !asTexts
    tracks = [baseTrack]
    if let nudging { try add(nudging) }
    // A weight of zero switches a part off.
    for part in guidance?.parts ?? [] {
      namesScores = namesScores || part.role.contains(.score)
      switch part.value {
      case .implicit(let value):
        if part.weight != 0 { try add(value, part, partCount, asTexts) }
        partCount += 1
      case .explicit(let value):
        if part.weight != 0 { try add(value, part, partCount, asTexts) }
        partCount += 1
      case .scorer(let scorer):
        guard part.role == .score else {
          throw IVGError(.invalidArgument, "a host scorer's role is SCORE")
        }
        if part.weight != 0 { scorers.append((scorer, part.weight)) }
      }
    }
  }

  private mutating func add(_ nudging: NudgingOptions) throws(IVGError) {
    try nudging.check(options)
    var nudger = try plan(
      nudging.nudger, needsOneVocabulary: false, asTexts: false, scores: false)
    nudger.needsLogits = true
    let ids = [("end_tokens", options.endTokens), ("banned_tokens", options.bannedTokens)]
    if nudger.isTextual, let (name, _) = ids.first(where: { !$0.1.isEmpty }) {
      throw IVGError(
        .unsupported,
        "\(name) are tokens of the base; the nudger \(nudger.model.label) has another vocabulary")
    }
    tracks.append(nudger)
  }

  private mutating func add(_ value: ImplicitValue, _ part: Part, _ index: Int, _ asTexts: Bool)
    throws(IVGError)
  {
    let tilts = part.role.contains(.tilt) && !asTexts
    var tuned = try plan(value.tuned, needsOneVocabulary: tilts, asTexts: asTexts)
    var untuned = tracks[0]
    if let guide = value.untuned {
      untuned = try plan(guide, needsOneVocabulary: tilts, asTexts: asTexts)
    } else if asTexts {
      _ = try base.trunk(for: "scoring by text")
    }
    let scores = part.role.contains(.score)
    // A hosted model scores in step with the rows: it has no sequence to catch up with.
    tuned.needsLogits = tilts || scores && tuned.model.isHosted
    untuned.needsLogits =
      tilts || scores && untuned.model.isHosted || (value.untuned == nil && !asTexts)
    tuned.needsLogProbabilities = scores || options.keepsAttribution
    untuned.needsLogProbabilities = scores || options.keepsAttribution
    limitVocabulary(to: tuned)
    limitVocabulary(to: untuned)
    implicits.append(
      ImplicitPlan(
        part: index, tuned: insert(tuned), untuned: insert(untuned), weight: part.weight,
        role: part.role, lengthAverage: value.lengthAverage))
  }

  private mutating func add(_ value: ExplicitValue, _ part: Part, _ index: Int, _ asTexts: Bool)
    throws(IVGError)
  {
    let tilts = part.role.contains(.tilt) && !asTexts
    var track = try plan(
      Guide(model: value.model, adapter: value.head.adapter, template: value.template),
      needsOneVocabulary: tilts, asTexts: asTexts)
    limitVocabulary(to: track)
    let tokens = track.model.tokenizer.vocabularySize
    if value.head.kind == .vocabulary {
      // Where the head follows the rows' own tokens, those that it cannot value are not generated.
      if !track.isTextual {
        vocabularySize = min(vocabularySize, value.head.outputSize)
      } else if value.head.outputSize < tokens {
        throw IVGError(
          .mismatch,
          "\(value.head.path): values \(value.head.outputSize) tokens; its model has \(tokens)")
      }
    }
    if tilts { track.tiltHead = value.head }
    if part.role.contains(.score) { track.scoreHead = value.head }
    explicits.append(
      ExplicitPlan(
        part: index, track: insert(track), head: value.head, weight: part.weight, role: part.role))
  }

  /// Tokens that a track which follows the rows' own tokens cannot read are not generated.
  private mutating func limitVocabulary(to track: TrackPlan) {
    if !track.isTextual { vocabularySize = min(vocabularySize, track.model.usableTokenCount) }
  }

  /// The index of a track that does what `new` does; joins an equal one where heads allow.
  private mutating func insert(_ new: TrackPlan) -> Int {
    let found = tracks.firstIndex { old in
      old.model === new.model && old.adapter === new.adapter && old.prompt == new.prompt
        && old.isTextual == new.isTextual
        && (old.tiltHead == nil || new.tiltHead == nil || old.tiltHead === new.tiltHead)
        && (old.scoreHead == nil || new.scoreHead == nil || old.scoreHead === new.scoreHead)
    }
    guard let found else {
      tracks.append(new)
      return tracks.count - 1
    }
    tracks[found].needsLogits = tracks[found].needsLogits || new.needsLogits
    tracks[found].needsLogProbabilities =
      tracks[found].needsLogProbabilities || new.needsLogProbabilities
    tracks[found].tiltHead = tracks[found].tiltHead ?? new.tiltHead
    tracks[found].scoreHead = tracks[found].scoreHead ?? new.scoreHead
    return found
  }

  /// A track for a guide: resolves its model, renders and tokenises its prompt, compares vocabularies.
  /// `scores`: the track is there to score, which a hosted model can do only in step with the rows.
  private func plan(
    _ guide: Guide, needsOneVocabulary: Bool, asTexts: Bool, scores: Bool = true
  ) throws(IVGError) -> TrackPlan {
    let model = guide.model ?? base
    if case .file = model.source { _ = try model.trunk(for: "a guide") }
    if let adapter = guide.adapter {
      let trunk = try model.trunk(for: "an adapter")
      guard adapter.trunk === trunk else {
        throw IVGError(
          .mismatch, "\(adapter.path): the adapter was opened for another model than \(model.label)"
        )
      }
    }
    let difference =
      model.tokenizer === base.tokenizer ? nil : base.tokenizer.difference(from: model.tokenizer)
    if let difference, needsOneVocabulary {
      throw IVGError(
        .mismatch,
        "\(model.label): its vocabulary differs from the base model's (\(difference)); a TILT needs "
          + "one vocabulary, SCORE does not")
    }
    // A guide that lacks the base's last tokens follows the text, unless it must share its tokens.
    var isShort = !needsOneVocabulary && model.usableTokenCount < base.realTokenCount
    if case .hosted = model.source { isShort = false }
    let isTextual = asTexts || difference != nil || isShort
    if isTextual, scores { _ = try model.trunk(for: "scoring by text") }
    return TrackPlan(
      model: model, adapter: guide.adapter,
      prompt: try tokens(PromptTemplate.fill(guide.template, prompt: prompt), model),
      isBare: guide.template == nil, isTextual: isTextual)
  }

  private func tokens(_ text: [UInt8], _ model: LanguageModel) throws(IVGError) -> [Int32] {
    let tokenizer = model.tokenizer
    var tokens = try tokenizer.encode(
      text, parseSpecial: true, addBegin: tokenizer.addsBeginToken)
    if tokens.isEmpty {
      guard let first = tokenizer.beginToken ?? tokenizer.endToken else {
        throw IVGError(
          .invalidArgument,
          "\(model.label): the prompt is empty and the file names neither a BOS nor an EOS token to "
            + "begin with")
      }
      tokens = [first]
    }
    return tokens
  }
}
