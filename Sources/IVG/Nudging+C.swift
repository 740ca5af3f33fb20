import CIVG
import Guidance
import Tensor

@_cdecl("ivg_nudging_options_init") @implementation
public func ivg_nudging_options_init(
  _ options: UnsafeMutablePointer<ivg_nudging_options>, _ struct_size: UInt32
) { Struct.initialize(options, struct_size) }

@_cdecl("ivg_guidance_set_nudging") @implementation
public func ivg_guidance_set_nudging(
  _ guidance: OpaquePointer, _ options: UnsafePointer<ivg_nudging_options>,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    let given = try Struct.read(options, "ivg_nudging_options")!
    let nudger = try guide(given.nudger_model, given.nudger_adapter, given.nudger_template)
    try Handle.object(guidance, as: Guidance.self).set(
      NudgingOptions(
        nudger: nudger ?? Guide(model: nil, adapter: nil, template: nil),
        threshold: threshold(given.threshold), burst: given.burst == 0 ? 16 : Int(given.burst),
        maximumRounds: given.max_rounds == 0 ? 150 : Int(given.max_rounds)))
    return ivg_status(IVG_OK)
  }
}

/// The threshold that the field names.
private func threshold(_ value: Float) -> Double {
  switch value {
  case 0: 0.3
  case -1: 0
  default: Double(value)
  }
}

@_cdecl("ivg_session_nudges") @implementation
public func ivg_session_nudges(
  _ session: OpaquePointer, _ spans: UnsafeMutablePointer<UnsafePointer<ivg_span>?>,
  _ count: UnsafeMutablePointer<Int>, _ share: UnsafeMutablePointer<Double>,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    let handle = SessionHandle.of(session)
    guard let generation = handle.session.generation else {
      throw IVGError(.invalidArgument, "no request has begun on this session")
    }
    let nudges = generation.nudges ?? Nudges()
    spans.pointee = handle.lend(nudges)
    count.pointee = nudges.spans.count
    share.pointee = nudges.share
    return ivg_status(IVG_OK)
  }
}
