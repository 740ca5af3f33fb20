import CIVG
import GGUF
import Tensor

final class FileHandle {
  let file: GGUFFile
  let keys: [LentString]
  let names: [LentString]
  let types: [LentString]

  init(path: String) throws(IVGError) {
    file = try GGUFFile(path: path)
    keys = file.metadata.keys.map { LentString($0) }
    names = file.tensors.map { LentString($0.name) }
    types = file.tensors.map { LentString($0.type.name) }
  }
}

@_cdecl("ivg_file_open") @implementation
public func ivg_file_open(
  _ out: UnsafeMutablePointer<OpaquePointer?>, _ path: UnsafePointer<CChar>,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    out.pointee = Handle.retain(try FileHandle(path: String(cString: path)))
    return ivg_status(IVG_OK)
  }
}

@_cdecl("ivg_file_free") @implementation
public func ivg_file_free(_ file: OpaquePointer?) { Handle.release(file, as: FileHandle.self) }

@_cdecl("ivg_file_metadata_count") @implementation
public func ivg_file_metadata_count(_ file: OpaquePointer) -> UInt64 {
  UInt64(Handle.object(file, as: FileHandle.self).keys.count)
}

@_cdecl("ivg_file_metadata_key") @implementation
public func ivg_file_metadata_key(_ file: OpaquePointer, _ index: UInt64)
  -> UnsafePointer<CChar>?
{
  let keys = Handle.object(file, as: FileHandle.self).keys
  return index < keys.count ? keys[Int(index)].borrowed : nil
}

@_cdecl("ivg_file_metadata_json") @implementation
public func ivg_file_metadata_json(
  _ file: OpaquePointer, _ index: UInt64, _ max_elements: UInt64,
  _ buffer: UnsafeMutablePointer<CChar>?, _ capacity: Int, _ needed: UnsafeMutablePointer<Int>,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    let metadata = Handle.object(file, as: FileHandle.self).file.metadata
    guard index < metadata.keys.count else {
      throw IVGError(
        .invalidArgument, "metadata entry \(index): the file has \(metadata.keys.count)")
    }
    let json = metadata.json(
      metadata.keys[Int(index)], maxElements: Int(clamping: max_elements))
    try Text.write(json, to: buffer, capacity, needed, terminated: true)
    return ivg_status(IVG_OK)
  }
}

@_cdecl("ivg_file_tensor_count") @implementation
public func ivg_file_tensor_count(_ file: OpaquePointer) -> UInt64 {
  UInt64(Handle.object(file, as: FileHandle.self).names.count)
}

@_cdecl("ivg_file_tensor") @implementation
public func ivg_file_tensor(
  _ file: OpaquePointer, _ index: UInt64, _ info: UnsafeMutablePointer<ivg_tensor_info>,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    let handle = Handle.object(file, as: FileHandle.self)
    guard index < handle.names.count else {
      throw IVGError(.invalidArgument, "tensor \(index): the file has \(handle.names.count)")
    }
    let tensor = handle.file.tensors[Int(index)]
    func extent(_ axis: Int) -> UInt64 {
      axis < tensor.shape.count ? UInt64(tensor.shape[axis]) : 1
    }
    let value = ivg_tensor_info(
      struct_size: 0, dimension_count: UInt32(tensor.shape.count),
      shape: (extent(0), extent(1), extent(2), extent(3)), offset: UInt64(tensor.offset),
      size: UInt64(tensor.byteCount), name: handle.names[Int(index)].borrowed,
      type: handle.types[Int(index)].borrowed)
    try Struct.write(value, to: info, "ivg_tensor_info")
    return ivg_status(IVG_OK)
  }
}
