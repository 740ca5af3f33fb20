import CIVG
import GGUF
import Tensor

final class QuantizerHandle {
  let quantizer: Quantizer
  /// Lent out in reports: for each tensor its name, and the types that it has and gets.
  let names: [LentString]
  let types: [TensorType: LentString]

  init(_ quantizer: Quantizer) {
    self.quantizer = quantizer
    names = quantizer.tensors.map { LentString($0.name) }
    types = Dictionary(
      uniqueKeysWithValues: TensorType.allCases.map { ($0, LentString($0.name)) })
  }

  static func of(_ pointer: OpaquePointer) -> QuantizerHandle {
    Handle.object(pointer, as: QuantizerHandle.self)
  }
}

@_cdecl("ivg_quantize_options_init") @implementation
public func ivg_quantize_options_init(
  _ options: UnsafeMutablePointer<ivg_quantize_options>, _ struct_size: UInt32
) { Struct.initialize(options, struct_size) }

/// The caller's options with defaults filled in. Names are checked by the quantizer.
private func quantizerOptions(_ pointer: UnsafePointer<ivg_quantize_options>) throws(IVGError)
  -> QuantizerOptions
{
  let given =
    try Struct.read(pointer, "ivg_quantize_options", reserved: { $0.reserved })
    ?? ivg_quantize_options()
  try Input.check(flags: given.flags, known: IVG_QUANTIZE_PURE)
  func text(_ pointer: UnsafePointer<CChar>?) -> String? { pointer.map { String(cString: $0) } }
  var options = QuantizerOptions()
  options.type = text(given.type) ?? ""
  options.isPure = given.flags & UInt32(IVG_QUANTIZE_PURE) != 0
  options.outputType = text(given.output_type)
  options.embeddingType = text(given.embedding_type)
  options.importancePath = text(given.importance_path)
  if given.thread_count != 0 { options.threadCount = Int(given.thread_count) }
  if given.memory_budget != 0 { options.memoryBudget = Int(clamping: given.memory_budget) }
  return options
}

@_cdecl("ivg_quantizer_create") @implementation
public func ivg_quantizer_create(
  _ out: UnsafeMutablePointer<OpaquePointer?>, _ source_path: UnsafePointer<CChar>,
  _ target_path: UnsafePointer<CChar>, _ options: UnsafePointer<ivg_quantize_options>,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    let quantizer = try Quantizer(
      source: String(cString: source_path), target: String(cString: target_path),
      options: quantizerOptions(options))
    out.pointee = Handle.retain(QuantizerHandle(quantizer))
    return ivg_status(IVG_OK)
  }
}

@_cdecl("ivg_quantizer_free") @implementation
public func ivg_quantizer_free(_ quantizer: OpaquePointer?) {
  Handle.release(quantizer, as: QuantizerHandle.self)
}

@_cdecl("ivg_quantizer_next") @implementation
public func ivg_quantizer_next(
  _ quantizer: OpaquePointer, _ report: UnsafeMutablePointer<ivg_quantize_report>,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    _ = try Struct.size(of: report, "ivg_quantize_report")
    let handle = QuantizerHandle.of(quantizer)
    guard let made = try handle.quantizer.next() else { return ivg_status(IVG_DONE) }
    var value = ivg_quantize_report()
    value.ends_tensor = made.endsTensor ? 1 : 0
    value.tensor_index = UInt64(made.tensorIndex)
    value.tensor_count = UInt64(handle.names.count)
    value.tensor = handle.names[made.tensorIndex].borrowed
    value.source_type = handle.types[made.from]?.borrowed
    value.target_type = handle.types[made.to]?.borrowed
    value.done = UInt64(made.done)
    value.total = UInt64(made.total)
    value.size_in = UInt64(handle.quantizer.sizeIn)
    value.size_out = UInt64(handle.quantizer.sizeOut)
    value.error = made.error
    value.seconds = made.seconds
    try Struct.write(value, to: report, "ivg_quantize_report")
    return ivg_status(IVG_OK)
  }
}

@_cdecl("ivg_quantizer_cancel") @implementation
public func ivg_quantizer_cancel(_ quantizer: OpaquePointer) {
  QuantizerHandle.of(quantizer).quantizer.cancelFlag.raise()
}
