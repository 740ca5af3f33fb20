import CIVG
import Tensor

@_cdecl("ivg_version_number") @implementation
public func ivg_version_number() -> UInt32 {
  UInt32(IVG_VERSION_MAJOR * 10000 + IVG_VERSION_MINOR * 100 + IVG_VERSION_PATCH)
}

private let versionString = LentString(
  "\(IVG_VERSION_MAJOR).\(IVG_VERSION_MINOR).\(IVG_VERSION_PATCH)")

@_cdecl("ivg_version_string") @implementation
public func ivg_version_string() -> UnsafePointer<CChar> { versionString.borrowed }

@_cdecl("ivg_kernels_name") @implementation
public func ivg_kernels_name() -> UnsafePointer<CChar> { Kernels.current.table.pointee.name }

private let statusStrings: [ivg_status: LentString] = [
  0: LentString("ok"),
  1: LentString("done"),
  -1: LentString("invalid argument"),
  -2: LentString("out of memory"),
  -3: LentString("input or output failed"),
  -4: LentString("corrupt file"),
  -5: LentString("unsupported"),
  -6: LentString("cancelled"),
  -7: LentString("context full"),
  -8: LentString("buffer too small"),
  -9: LentString("mismatch"),
  -10: LentString("not found"),
  -11: LentString("callback failed"),
  -99: LentString("internal error"),
]
private let unknownStatus = LentString("unknown status")

@_cdecl("ivg_status_string") @implementation
public func ivg_status_string(_ status: ivg_status) -> UnsafePointer<CChar> {
  (statusStrings[status] ?? unknownStatus).borrowed
}
