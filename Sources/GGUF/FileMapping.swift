import Glibc
import Tensor

/// A whole regular file, mapped read-only and shared with every other process that maps it.
///
/// This is the only type of the module that holds a pointer: everything else asks it for checked
/// loads. The mapping lives as long as the object; whatever borrows bytes from it keeps the object.
///
/// Threads: immutable after `init`, so any number of threads may read.
///
/// Limit: the bytes belong to the file. If another process truncates the file while it is mapped,
/// the pages behind the new end are gone and touching them raises SIGBUS. Replace a file that is in
/// use by renaming a new one over it, never by writing into it. A file that changes in place
/// without shrinking can give wrong numbers but never a read outside the mapping.
final class FileMapping: @unchecked Sendable {
  /// The path as the caller wrote it, for messages.
  let path: String
  /// Size of the file in bytes when it was opened; at least 1.
  let count: Int
  private let base: UnsafeRawPointer

  /// Maps the file at `path`.
  ///
  /// Throws `.notFound` if there is no such file, `.corruptFile` if it is empty, and `.io` if it
  /// cannot be opened or mapped or is no regular file (a folder, a pipe, a device).
  init(path: String) throws(IVGError) {
    guard !path.utf8.contains(0) else {
      throw IVGError(.notFound, "\(quoted(path)): a path cannot contain a zero byte")
    }
    // O_NONBLOCK: opening a pipe that nobody writes to must fail below, not wait here.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
      let code = errno
      let kind: IVGError.Kind = code == ENOENT || code == ENOTDIR ? .notFound : .io
      throw IVGError(kind, "\(path): cannot open: \(systemMessage(code))")
    }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else {
      throw IVGError(.io, "\(path): cannot read its size: \(systemMessage(errno))")
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw IVGError(.io, "\(path): not a regular file")
    }
    guard status.st_size > 0 else { throw IVGError(.corruptFile, "\(path): the file is empty") }
    let count = Int(status.st_size)
    let address = mmap(nil, count, PROT_READ, MAP_SHARED, descriptor, 0)
    guard let address, address != UnsafeMutableRawPointer(bitPattern: -1) else {
      throw IVGError(.io, "\(path): cannot map \(count) bytes: \(systemMessage(errno))")
    }
    self.path = path
    self.count = count
    self.base = UnsafeRawPointer(address)
  }

  deinit {
    munmap(UnsafeMutableRawPointer(mutating: base), count)
  }

  /// The little-endian integer at `offset`, which need not be aligned; nil unless it lies wholly in
  /// the file.
  @inline(__always)
  func load<T: FixedWidthInteger & BitwiseCopyable>(at offset: Int, as type: T.Type) -> T? {
    // `count - size` may be negative and then fails the test; nothing here can overflow.
    guard offset >= 0, offset <= count - MemoryLayout<T>.size else { return nil }
    return T(littleEndian: base.loadUnaligned(fromByteOffset: offset, as: T.self))
  }

  /// The bytes `offset ..< offset + length`, borrowed from the mapping; nil unless they lie wholly
  /// in the file.
  @inline(__always)
  func bytes(at offset: Int, count length: Int) -> UnsafeRawBufferPointer? {
    guard offset >= 0, length >= 0, offset <= count, length <= count - offset else { return nil }
    return UnsafeRawBufferPointer(start: base + offset, count: length)
  }
}

/// The system's words for an error number.
package func systemMessage(_ code: Int32) -> String {
  guard let words = strerror(code) else { return "error \(code)" }
  return String(cString: words)
}
