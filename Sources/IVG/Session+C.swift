import CIVG
import Guidance
import Tensor

final class SessionHandle {
  let session: Session
  /// Lent out in a step.
  private var text: UnsafeMutablePointer<CChar>  // [textCapacity]
  private var textCapacity = 1024
  /// Lent out as the nudger's part of a text.
  private var spans: UnsafeMutablePointer<ivg_span>?
  /// Lent out as candidates, until the next call that changes the session.
  /// By index: what is asked for again is there already.
  private var candidates: [UInt32: CandidateBuffers] = [:]

  init(_ session: Session) {
    self.session = session
    text = .allocate(capacity: textCapacity)
  }

  deinit {
    text.deallocate()
    spans?.deallocate()
  }

  static func of(_ pointer: OpaquePointer) -> SessionHandle {
    Handle.object(pointer, as: SessionHandle.self)
  }

  /// Ends the loan of candidates.
  func forgetCandidates() { candidates.removeAll(keepingCapacity: true) }

  /// Copies a step's text, which has a NUL at its end, to memory that stays put.
  func lend(_ bytes: [UInt8]) -> UnsafePointer<CChar> {
    if bytes.count > textCapacity {
      text.deallocate()
      textCapacity = bytes.count * 2
      text = .allocate(capacity: textCapacity)
    }
    for index in bytes.indices { text[index] = CChar(bitPattern: bytes[index]) }
    return UnsafePointer(text)
  }

  func lend(_ nudges: Nudges) -> UnsafePointer<ivg_span>? {
    spans?.deallocate()
    spans = nil
    if nudges.spans.isEmpty { return nil }
    let lent = UnsafeMutablePointer<ivg_span>.allocate(capacity: nudges.spans.count)
    for (index, span) in nudges.spans.enumerated() {
      (lent + index).initialize(
        to: ivg_span(start: UInt64(span.lowerBound), length: UInt64(span.count)))
    }
    spans = lent
    return UnsafePointer(lent)
  }

  func lend(_ candidate: Candidate, at index: UInt32) -> CandidateBuffers {
    if let known = candidates[index] { return known }
    let new = CandidateBuffers(candidate)
    candidates[index] = new
    return new
  }
}

/// A candidate in memory that stays put.
final class CandidateBuffers {
  let text: LentString
  let tokens: UnsafeMutablePointer<Int32>
  let logProbabilities: UnsafeMutablePointer<Float>
  let baseLogProbabilities: UnsafeMutablePointer<Float>?
  let guideValues: UnsafeMutablePointer<Float>?

  init(_ candidate: Candidate) {
    text = LentString(candidate.text.dropLast())
    tokens = Self.copy(candidate.tokens)
    logProbabilities = Self.copy(candidate.logProbabilities)
    baseLogProbabilities =
      candidate.baseLogProbabilities.isEmpty ? nil : Self.copy(candidate.baseLogProbabilities)
    guideValues = candidate.guideValues.isEmpty ? nil : Self.copy(candidate.guideValues)
  }

  deinit {
    tokens.deallocate()
    logProbabilities.deallocate()
    baseLogProbabilities?.deallocate()
    guideValues?.deallocate()
  }

  private static func copy<Element>(_ elements: [Element]) -> UnsafeMutablePointer<Element> {
    let memory = UnsafeMutablePointer<Element>.allocate(capacity: max(elements.count, 1))
    memory.initialize(from: elements, count: elements.count)
    return memory
  }
}

@_cdecl("ivg_session_options_init") @implementation
public func ivg_session_options_init(
  _ options: UnsafeMutablePointer<ivg_session_options>, _ struct_size: UInt32
) { Struct.initialize(options, struct_size) }

/// The caller's session options with defaults filled in.
private func sessionOptions(_ pointer: UnsafePointer<ivg_session_options>?) throws(IVGError)
  -> SessionOptions
{
  let options = try Struct.read(pointer, "ivg_session_options") ?? ivg_session_options()
  guard options.timings <= 1 else {
    throw IVGError(.invalidArgument, "timings is \(options.timings); it must be 0 or 1")
  }
  return try SessionOptions(
    threadCount: Int(options.thread_count), contextLength: Int(options.context_length),
    budget: options.memory_budget, isTimed: options.timings == 1)
}

@_cdecl("ivg_session_create") @implementation
public func ivg_session_create(
  _ out: UnsafeMutablePointer<OpaquePointer?>, _ model: OpaquePointer,
  _ options: UnsafePointer<ivg_session_options>?, _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    let session = try Session(
      base: ModelHandle.of(model).model, options: sessionOptions(options))
    out.pointee = Handle.retain(SessionHandle(session))
    return ivg_status(IVG_OK)
  }
}

@_cdecl("ivg_session_free") @implementation
public func ivg_session_free(_ session: OpaquePointer?) {
  Handle.release(session, as: SessionHandle.self)
}

@_cdecl("ivg_session_cancel") @implementation
public func ivg_session_cancel(_ session: OpaquePointer) {
  SessionHandle.of(session).session.cancel.raise()
}

@_cdecl("ivg_session_begin") @implementation
public func ivg_session_begin(
  _ session: OpaquePointer, _ prompt: UnsafePointer<CChar>, _ prompt_length: Int,
  _ options: UnsafePointer<ivg_generate_options>?, _ guidance: OpaquePointer?,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    let handle = SessionHandle.of(session)
    handle.forgetCandidates()
    try handle.session.begin(
      prompt: Array(Input.bytes(prompt, prompt_length, "prompt_length")),
      options: generateOptions(options),
      guidance: guidance.map { Handle.object($0, as: Guidance.self) })
    return ivg_status(IVG_OK)
  }
}

@_cdecl("ivg_session_next") @implementation
public func ivg_session_next(
  _ session: OpaquePointer, _ step: UnsafeMutablePointer<ivg_step>,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    let handle = SessionHandle.of(session)
    // Before anything is drawn: a step that cannot be written must not cost its token.
    _ = try Struct.size(of: UnsafeRawPointer(step), "ivg_step")
    handle.forgetCandidates()
    guard let made = try handle.session.next(), let generation = handle.session.generation else {
      return ivg_status(IVG_DONE)
    }
    let value = ivg_step(
      struct_size: 0, kind: made.kind.rawValue, token: made.token,
      finish_reason: made.finish.rawValue, log_probability: made.logProbability,
      top_count: UInt32(generation.alternatives.count), value: made.value,
      text: handle.lend(generation.text), text_length: generation.text.count - 1,
      top_tokens: generation.alternatives.tokens,
      top_log_probabilities: generation.alternatives.logProbabilities)
    try Struct.write(value, to: step, "ivg_step")
    return ivg_status(IVG_OK)
  }
}

@_cdecl("ivg_session_result") @implementation
public func ivg_session_result(
  _ session: OpaquePointer, _ result: UnsafeMutablePointer<ivg_result>,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    let session = SessionHandle.of(session).session
    guard let generation = session.generation else {
      throw IVGError(.invalidArgument, "no request has begun on this session")
    }
    let value = ivg_result(
      struct_size: 0, candidate_count: UInt32(generation.candidateCount),
      finish_reason: generation.finish.rawValue, guide_count: UInt32(generation.partCount),
      prompt_token_count: UInt64(generation.promptTokens.count),
      reused_token_count: UInt64(generation.reusedCount),
      token_count: UInt64(generation.drawnCount),
      prompt_seconds: generation.times.prompt, generate_seconds: generation.times.generate,
      memory_used: UInt64(session.memoryUsed))
    try Struct.write(value, to: result, "ivg_result")
    return ivg_status(IVG_OK)
  }
}

@_cdecl("ivg_session_timings") @implementation
public func ivg_session_timings(
  _ session: OpaquePointer, _ timings: UnsafeMutablePointer<ivg_timings>,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    guard let clock = SessionHandle.of(session).session.clock else {
      throw IVGError(.invalidArgument, "the session was created without the option timings")
    }
    let value = ivg_timings(
      struct_size: 0, reserved: 0, pass_count: UInt64(clock.passes), row_count: UInt64(clock.rows),
      embed_seconds: clock.seconds(.embed), normalize_seconds: clock.seconds(.normalize),
      projection_seconds: clock.seconds(.projections), attention_seconds: clock.seconds(.attention),
      feed_forward_seconds: clock.seconds(.feedForward), output_seconds: clock.seconds(.outputs),
      sample_seconds: clock.seconds(.sample), score_seconds: clock.seconds(.score),
      other_seconds: clock.seconds(.other))
    try Struct.write(value, to: timings, "ivg_timings")
    return ivg_status(IVG_OK)
  }
}

@_cdecl("ivg_session_candidate") @implementation
public func ivg_session_candidate(
  _ session: OpaquePointer, _ index: UInt32, _ candidate: UnsafeMutablePointer<ivg_candidate>,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    let handle = SessionHandle.of(session)
    guard let found = handle.session.generation?.candidate(Int(index)) else {
      throw IVGError(
        .invalidArgument,
        "candidate \(index): the session has \(handle.session.generation?.candidateCount ?? 0)")
    }
    let buffers = handle.lend(found, at: index)
    let value = ivg_candidate(
      struct_size: 0, finish_reason: found.finish.rawValue, score: found.score,
      log_probability: found.logProbability, text: buffers.text.borrowed,
      text_length: found.text.count - 1, tokens: buffers.tokens,
      token_count: found.tokens.count, log_probabilities: buffers.logProbabilities,
      base_log_probabilities: buffers.baseLogProbabilities, guide_values: buffers.guideValues)
    try Struct.write(value, to: candidate, "ivg_candidate")
    return ivg_status(IVG_OK)
  }
}

@_cdecl("ivg_memory_required") @implementation
public func ivg_memory_required(
  _ model: OpaquePointer, _ session: UnsafePointer<ivg_session_options>?,
  _ options: UnsafePointer<ivg_generate_options>?, _ guidance: OpaquePointer?,
  _ prompt_token_count: Int, _ bytes: UnsafeMutablePointer<UInt64>,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    // A size_t above Int.max arrives negative. No context reaches 32 bits.
    guard (0...Int(UInt32.max)).contains(prompt_token_count) else {
      throw IVGError(
        .contextFull,
        "prompt_token_count is \(UInt(bitPattern: prompt_token_count)); no model has such a context"
      )
    }
    bytes.pointee = UInt64(
      try MemoryPlan.required(
        base: ModelHandle.of(model).model, session: sessionOptions(session),
        options: generateOptions(options),
        guidance: guidance.map { Handle.object($0, as: Guidance.self) },
        promptCount: prompt_token_count))
    return ivg_status(IVG_OK)
  }
}

@_cdecl("ivg_session_score") @implementation
public func ivg_session_score(
  _ session: OpaquePointer, _ guidance: OpaquePointer, _ prompt: UnsafePointer<CChar>,
  _ prompt_length: Int, _ texts: UnsafePointer<UnsafePointer<CChar>>,
  _ text_lengths: UnsafePointer<Int>, _ count: Int, _ flags: UInt32,
  _ scores: UnsafeMutablePointer<Double>, _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    let handle = SessionHandle.of(session)
    handle.forgetCandidates()
    try Input.check(flags: flags, known: IVG_SCORE_ENDED)
    var buffers: [UnsafeRawBufferPointer] = []
    for (index, length) in try Input.array(text_lengths, count, "count").enumerated() {
      buffers.append(try Input.bytes(texts[index], length, "text_lengths[\(index)]"))
    }
    let found = try handle.session.score(
      Handle.object(guidance, as: Guidance.self),
      prompt: Array(Input.bytes(prompt, prompt_length, "prompt_length")),
      texts: buffers, ended: flags & UInt32(IVG_SCORE_ENDED) != 0)
    scores.update(from: found, count: count)
    return ivg_status(IVG_OK)
  }
}
