import CIVG
import Guidance
import Tensor
import Transformer

final class AdapterHandle {
  let adapter: Adapter
  let model: LanguageModel

  init(_ adapter: Adapter, _ model: LanguageModel) {
    self.adapter = adapter
    self.model = model
  }
}

final class ValueHeadHandle {
  let head: ValueHead
  let model: LanguageModel

  init(_ head: ValueHead, _ model: LanguageModel) {
    self.head = head
    self.model = model
  }
}

@_cdecl("ivg_adapter_open") @implementation
public func ivg_adapter_open(
  _ out: UnsafeMutablePointer<OpaquePointer?>, _ model: OpaquePointer,
  _ path: UnsafePointer<CChar>, _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    let model = ModelHandle.of(model).model
    let adapter = try Adapter(
      path: String(cString: path), trunk: model.trunk(for: "an adapter"))
    out.pointee = Handle.retain(AdapterHandle(adapter, model))
    return ivg_status(IVG_OK)
  }
}

@_cdecl("ivg_adapter_free") @implementation
public func ivg_adapter_free(_ adapter: OpaquePointer?) {
  Handle.release(adapter, as: AdapterHandle.self)
}

@_cdecl("ivg_value_head_open") @implementation
public func ivg_value_head_open(
  _ out: UnsafeMutablePointer<OpaquePointer?>, _ model: OpaquePointer,
  _ path: UnsafePointer<CChar>, _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    let model = ModelHandle.of(model).model
    let head = try ValueHead(
      path: String(cString: path), trunk: model.trunk(for: "a value head"))
    out.pointee = Handle.retain(ValueHeadHandle(head, model))
    return ivg_status(IVG_OK)
  }
}

@_cdecl("ivg_value_head_free") @implementation
public func ivg_value_head_free(_ head: OpaquePointer?) {
  Handle.release(head, as: ValueHeadHandle.self)
}
