import CIVG
import Guidance
import Tensor

@_cdecl("ivg_guidance_options_init") @implementation
public func ivg_guidance_options_init(
  _ options: UnsafeMutablePointer<ivg_guidance_options>, _ struct_size: UInt32
) { Struct.initialize(options, struct_size) }

@_cdecl("ivg_implicit_options_init") @implementation
public func ivg_implicit_options_init(
  _ options: UnsafeMutablePointer<ivg_implicit_options>, _ struct_size: UInt32
) { Struct.initialize(options, struct_size) }

@_cdecl("ivg_explicit_options_init") @implementation
public func ivg_explicit_options_init(
  _ options: UnsafeMutablePointer<ivg_explicit_options>, _ struct_size: UInt32
) { Struct.initialize(options, struct_size) }

@_cdecl("ivg_scorer_options_init") @implementation
public func ivg_scorer_options_init(
  _ options: UnsafeMutablePointer<ivg_scorer_options>, _ struct_size: UInt32
) { Struct.initialize(options, struct_size) }

@_cdecl("ivg_guidance_create") @implementation
public func ivg_guidance_create(
  _ out: UnsafeMutablePointer<OpaquePointer?>, _ options: UnsafePointer<ivg_guidance_options>?,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    let options =
      try Struct.read(options, "ivg_guidance_options", reserved: { $0.reserved })
      ?? ivg_guidance_options()
    var search = try SearchOptions(
      width: options.width == 0 ? 1 : Int(options.width),
      successors: options.successors == 0 ? 1 : Int(options.successors), chunk: Int(options.chunk))
    guard let finished = SearchOptions.FinishedRows(rawValue: options.finished_rows) else {
      throw IVGError(
        .invalidArgument, "finished_rows is \(options.finished_rows); known: 0 (pool), 1 (tile)")
    }
    guard let candidates = SearchOptions.Candidates(rawValue: options.candidates) else {
      throw IVGError(
        .invalidArgument, "candidates is \(options.candidates); known: 0 (tilted), 1 (base)")
    }
    guard options.dedupe <= 1 else {
      throw IVGError(.invalidArgument, "dedupe is \(options.dedupe); it must be 0 or 1")
    }
    search.finishedRows = finished
    search.candidates = candidates
    search.dedupe = options.dedupe == 1
    out.pointee = Handle.retain(Guidance(search: search))
    return ivg_status(IVG_OK)
  }
}

@_cdecl("ivg_guidance_free") @implementation
public func ivg_guidance_free(_ guidance: OpaquePointer?) {
  Handle.release(guidance, as: Guidance.self)
}

/// The role that `bits` name, or `default` for none.
private func role(_ bits: UInt32, default: Role) throws(IVGError) -> Role {
  guard bits <= 3 else {
    throw IVGError(
      .invalidArgument, "role is \(bits); known: 1 (TILT), 2 (SCORE), 3 (both)")
  }
  return bits == 0 ? `default` : Role(rawValue: bits)
}

/// One side of an implicit value; nil if nothing of it is given.
func guide(
  _ model: OpaquePointer?, _ adapter: OpaquePointer?, _ template: UnsafePointer<CChar>?
) throws(IVGError) -> Guide? {
  if model == nil, adapter == nil, template == nil { return nil }
  var guide = Guide(
    model: model.map { ModelHandle.of($0).model }, adapter: nil, template: Text.bytes(template))
  if let adapter {
    let handle = Handle.object(adapter, as: AdapterHandle.self)
    if let model = guide.model, model !== handle.model {
      throw IVGError(
        .mismatch,
        "\(handle.adapter.path): the adapter was opened for another model than the one given with it"
      )
    }
    guide.model = handle.model
    guide.adapter = handle.adapter
  }
  return guide
}

@_cdecl("ivg_guidance_add_implicit") @implementation
public func ivg_guidance_add_implicit(
  _ guidance: OpaquePointer, _ options: UnsafePointer<ivg_implicit_options>, _ weight: Double,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    let options = try Struct.read(options, "ivg_implicit_options", reserved: { $0.reserved })!
    let tuned = try guide(options.tuned_model, options.tuned_adapter, options.tuned_template)
    let untuned = try guide(
      options.untuned_model, options.untuned_adapter, options.untuned_template)
    let value = ImplicitValue(
      tuned: tuned ?? Guide(model: nil, adapter: nil, template: nil), untuned: untuned,
      lengthAverage: options.length_average != 0)
    try Handle.object(guidance, as: Guidance.self).add(
      Part(.implicit(value), weight: weight, role: role(options.role, default: .tilt)))
    return ivg_status(IVG_OK)
  }
}

@_cdecl("ivg_guidance_add_explicit") @implementation
public func ivg_guidance_add_explicit(
  _ guidance: OpaquePointer, _ options: UnsafePointer<ivg_explicit_options>, _ weight: Double,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    let options = try Struct.read(options, "ivg_explicit_options")!
    guard let head = options.head else {
      throw IVGError(.invalidArgument, "ivg_explicit_options.head is NULL")
    }
    let handle = Handle.object(head, as: ValueHeadHandle.self)
    let value = ExplicitValue(
      head: handle.head, model: handle.model, template: Text.bytes(options.template_text))
    try Handle.object(guidance, as: Guidance.self).add(
      Part(.explicit(value), weight: weight, role: role(options.role, default: .score)))
    return ivg_status(IVG_OK)
  }
}

@_cdecl("ivg_guidance_add_scorer") @implementation
public func ivg_guidance_add_scorer(
  _ guidance: OpaquePointer, _ options: UnsafePointer<ivg_scorer_options>, _ weight: Double,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    let options = try Struct.read(options, "ivg_scorer_options", reserved: { $0.reserved })!
    guard let score = options.score else {
      throw IVGError(.invalidArgument, "ivg_scorer_options.score is NULL")
    }
    guard weight.isFinite else {
      throw IVGError(.invalidArgument, "a weight is \(weight); it must be finite")
    }
    let userData = options.user_data
    let finalizer = Finalizer(options.finalizer, userData)
    let scorer = HostScorer(
      score: { prompt, texts in hostScores(score, userData, prompt, texts) },
      finalizer: finalizer.run)
    try Handle.object(guidance, as: Guidance.self).add(
      Part(.scorer(scorer), weight: weight, role: .score))
    finalizer.arm()
    return ivg_status(IVG_OK)
  }
}

/// Calls a host's scorer; nil if it reports failure.
private func hostScores(
  _ score: ivg_scorer_fn, _ userData: UnsafeMutableRawPointer?, _ prompt: [UInt8],
  _ texts: [HostScorer.Text]
) -> [Double]? {
  var scores = [Double](repeating: 0, count: texts.count)
  let prompt = (LentString(prompt), prompt.count)
  let strings = texts.map { LentString($0.bytes) }
  let pointers = strings.map(\.borrowed)
  let lengths = texts.map(\.bytes.count)
  let finished = texts.map { Int32($0.isFinished ? 1 : 0) }
  let status = pointers.withUnsafeBufferPointer { pointers in
    lengths.withUnsafeBufferPointer { lengths in
      finished.withUnsafeBufferPointer { finished in
        scores.withUnsafeMutableBufferPointer { scores in
          score(
            userData, prompt.0.borrowed, prompt.1, pointers.baseAddress!, lengths.baseAddress!,
            finished.baseAddress!, texts.count, scores.baseAddress!)
        }
      }
    }
  }
  withExtendedLifetime((prompt.0, strings)) {}
  return status == 0 ? scores : nil
}
