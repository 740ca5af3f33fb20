import CIVG
import Glibc
import Tensor

/// Structs that begin with `struct_size`: the caller's version may be older or newer than ours.
enum Struct {
  /// The size that the caller states. No struct of any version is larger than `sizeLimit`: what is, was
  /// never set, and is not followed through memory.
  ///
  /// Throws `.invalidArgument` for a size that cannot be.
  static func size(of pointer: UnsafeRawPointer, _ name: String) throws(IVGError) -> Int {
    let size = pointer.load(as: UInt32.self)
    guard (UInt32(MemoryLayout<UInt32>.size)...sizeLimit).contains(size) else {
      throw IVGError(
        .invalidArgument, "\(name).struct_size is \(size); set it to sizeof(\(name))")
    }
    return Int(size)
  }

  private static let sizeLimit: UInt32 = 4096

  /// The caller's options over `defaults`; nil is all defaults. Fields that the caller does not know stay
  /// zero, which is their default. `reserved` gives the field of that name.
  ///
  /// Throws `.invalidArgument` for a size that cannot be, `.unsupported` if the caller sets a field
  /// that this library does not know, or the reserved one.
  static func read<T>(
    _ pointer: UnsafePointer<T>?, _ name: String, reserved: (T) -> UInt32 = { _ in 0 }
  ) throws(IVGError) -> T? {
    guard let pointer else { return nil }
    let raw = UnsafeRawPointer(pointer)
    let size = try size(of: raw, name)
    let known = MemoryLayout<T>.size
    if size > known {
      for offset in known..<size where raw.load(fromByteOffset: offset, as: UInt8.self) != 0 {
        throw IVGError(
          .unsupported,
          "\(name).struct_size is \(size) and byte \(offset) is set; this library knows \(known) bytes"
        )
      }
    }
    let value = withUnsafeTemporaryAllocation(
      byteCount: known, alignment: MemoryLayout<T>.alignment
    ) { copy in
      memset(copy.baseAddress!, 0, known)
      memcpy(copy.baseAddress!, raw, min(size, known))
      return copy.load(as: T.self)
    }
    guard reserved(value) == 0 else {
      throw IVGError(.unsupported, "\(name).reserved is \(reserved(value)); it must be 0")
    }
    return value
  }

  /// Writes `value` to a struct that the caller has sized; what it does not know is left out, what we do
  /// not know becomes zero. `struct_size` stays the caller's.
  static func write<T>(_ value: T, to pointer: UnsafeMutablePointer<T>, _ name: String)
    throws(IVGError)
  {
    let raw = UnsafeMutableRawPointer(pointer)
    let size = try size(of: UnsafeRawPointer(raw), name)
    let header = MemoryLayout<UInt32>.size
    withUnsafeBytes(of: value) { bytes in
      let known = min(size, bytes.count)
      memcpy(raw + header, bytes.baseAddress! + header, known - header)
      if size > known { memset(raw + known, 0, size - known) }
    }
  }

  /// Sets a struct to zero, which is all defaults, and its size.
  static func initialize<T>(_ pointer: UnsafeMutablePointer<T>, _ size: UInt32) {
    let raw = UnsafeMutableRawPointer(pointer)
    memset(raw, 0, Int(size))
    if Int(size) >= MemoryLayout<UInt32>.size { raw.storeBytes(of: size, as: UInt32.self) }
  }
}

/// Arrays and flags that come in.
enum Input {
  /// `count` elements from `pointer` on, borrowed.
  ///
  /// Throws `.invalidArgument` for a count that no array has, such as −1 in the hope of a NUL; `name` is the
  /// parameter's.
  static func array<Element>(_ pointer: UnsafePointer<Element>, _ count: Int, _ name: String)
    throws(IVGError) -> UnsafeBufferPointer<Element>
  {
    guard (0...Int.max / max(MemoryLayout<Element>.stride, 1)).contains(count) else {
      throw IVGError(
        .invalidArgument, "\(name) is \(UInt(bitPattern: count)); no array is that long")
    }
    return UnsafeBufferPointer(start: pointer, count: count)
  }

  /// The bytes of a text, borrowed. Throws as `array`.
  static func bytes(_ pointer: UnsafePointer<CChar>, _ length: Int, _ name: String)
    throws(IVGError) -> UnsafeRawBufferPointer
  {
    UnsafeRawBufferPointer(try array(pointer, length, name))
  }

  /// Throws `.unsupported` if `flags` has other bits than those of `known`.
  static func check(flags: UInt32, known: Int...) throws(IVGError) {
    let known = known.reduce(0 as UInt32) { $0 | UInt32($1) }
    guard flags & ~known == 0 else {
      throw IVGError(.unsupported, "flags is \(flags); known bits: \(known)")
    }
  }
}

/// Text in and out.
enum Text {
  /// The bytes of a NUL-terminated string; nil stays nil.
  static func bytes(_ pointer: UnsafePointer<CChar>?) -> [UInt8]? {
    pointer.map { Array(UnsafeRawBufferPointer(start: $0, count: strlen($0))) }
  }

  /// Copies `bytes` to a caller's buffer and says how many there are.
  ///
  /// Throws `.bufferTooSmall`; then nothing is copied. `terminated`: a NUL behind them must fit too.
  static func write(
    _ bytes: [UInt8], to buffer: UnsafeMutablePointer<CChar>?, _ capacity: Int,
    _ needed: UnsafeMutablePointer<Int>, terminated: Bool
  ) throws(IVGError) {
    needed.pointee = bytes.count
    let total = bytes.count + (terminated ? 1 : 0)
    guard total <= capacity, let buffer else {
      if total == 0 { return }
      throw IVGError(
        .bufferTooSmall, "the buffer holds \(capacity) bytes; \(total) are needed")
    }
    bytes.withUnsafeBytes { source in
      if let base = source.baseAddress { memcpy(buffer, base, source.count) }
    }
    if terminated { buffer[bytes.count] = 0 }
  }
}
