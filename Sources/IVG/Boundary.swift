import CIVG
import Tensor

/// The one way from a throwing body to a status: every entry point goes through here.
///
/// On failure `*error`, if there is one, receives a message that the caller frees.
func boundary(
  _ error: UnsafeMutablePointer<OpaquePointer?>?, _ body: () throws(IVGError) -> ivg_status
) -> ivg_status {
  do throws(IVGError) {
    return try body()
  } catch let failure {
    error?.pointee = Handle.retain(ErrorHandle(failure))
    return failure.kind.rawValue
  }
}

/// What hosts hold: a Swift object behind an opaque pointer, with one reference that `free` gives back.
enum Handle {
  static func retain(_ object: AnyObject) -> OpaquePointer {
    OpaquePointer(Unmanaged.passRetained(object).toOpaque())
  }

  static func object<Object: AnyObject>(_ pointer: OpaquePointer, as: Object.Type) -> Object {
    Unmanaged<Object>.fromOpaque(UnsafeRawPointer(pointer)).takeUnretainedValue()
  }

  static func release<Object: AnyObject>(_ pointer: OpaquePointer?, as: Object.Type) {
    guard let pointer else { return }
    Unmanaged<Object>.fromOpaque(UnsafeRawPointer(pointer)).release()
  }
}

/// NUL-terminated text that a handle lends out. Immutable.
final class LentString: @unchecked Sendable {
  let pointer: UnsafeMutablePointer<CChar>

  init(_ text: some Collection<UInt8>) {
    pointer = .allocate(capacity: text.count + 1)
    var index = 0
    for byte in text {
      pointer[index] = CChar(bitPattern: byte)
      index += 1
    }
    pointer[index] = 0
  }

  convenience init(_ text: String) { self.init(Array(text.utf8)) }

  deinit { pointer.deallocate() }

  var borrowed: UnsafePointer<CChar> { UnsafePointer(pointer) }
}

final class ErrorHandle {
  let status: ivg_status
  let message: LentString

  init(_ error: IVGError) {
    status = error.kind.rawValue
    message = LentString(error.message)
  }
}

@_cdecl("ivg_error_status") @implementation
public func ivg_error_status(_ error: OpaquePointer) -> ivg_status {
  Handle.object(error, as: ErrorHandle.self).status
}

@_cdecl("ivg_error_message") @implementation
public func ivg_error_message(_ error: OpaquePointer) -> UnsafePointer<CChar> {
  Handle.object(error, as: ErrorHandle.self).message.borrowed
}

@_cdecl("ivg_error_free") @implementation
public func ivg_error_free(_ error: OpaquePointer?) {
  Handle.release(error, as: ErrorHandle.self)
}
