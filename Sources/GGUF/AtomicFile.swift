import Glibc
import Tensor

/// A file that appears under its name only when it is complete.
///
/// Bytes go to a new file in the same folder, which has no name where the file system can do that, so that not even
/// a process that is killed leaves something behind. `commit` makes them durable and renames the file over
/// `path`. If the object goes away before that, for whatever reason, the new file is removed and
/// what was at `path` is untouched. A symbolic link at `path` is replaced, not followed.
///
/// Ownership: owns the descriptor. Threads: one at a time.
package final class AtomicFile {
  let path: String
  /// The new file's name; nil while it has none.
  var temporary: String?
  var descriptor: Int32
  private var buffer: [UInt8] = []
  private var writeBack = WriteBack()
  private static let bufferSize = 1 << 18

  /// Creates the new file. Throws `.notFound` if the folder does not exist, `.io` otherwise.
  init(path: String) throws(IVGError) {
    guard !path.isEmpty, !path.utf8.contains(0) else {
      throw IVGError(.notFound, "\(quoted(path)) is no path")
    }
    self.path = path
    descriptor = Self.createNameless(Self.folder(of: path))
    if descriptor < 0 {
      let (name, created) = Self.create(beside: path)
      guard created >= 0 else {
        let code = errno
        let kind: IVGError.Kind = code == ENOENT || code == ENOTDIR ? .notFound : .io
        throw IVGError(kind, "\(path): cannot create: \(systemMessage(code))")
      }
      (temporary, descriptor) = (name, created)
    }
    buffer.reserveCapacity(Self.bufferSize)
  }

  deinit {
    if descriptor >= 0 { close(descriptor) }
    if let temporary { unlink(temporary) }
  }

  /// Appends bytes. Throws `.io`, for instance when the disk is full.
  func write(_ bytes: UnsafeRawBufferPointer) throws(IVGError) {
    if buffer.count + bytes.count > Self.bufferSize { try flush() }
    if bytes.count >= Self.bufferSize {
      try writeAll(bytes)
    } else {
      buffer.append(contentsOf: bytes)
    }
  }

  /// Writes out everything, waits until it is on the disk and gives the file its name. Throws
  /// `.io`. The object takes no more bytes after this.
  func commit() throws(IVGError) {
    try flush()
    guard fsync(descriptor) == 0 else { throw failure("cannot write") }
    if temporary == nil { try giveName() }
    guard let temporary, rename(temporary, path) == 0 else { throw failure("cannot rename into place") }
    self.temporary = nil
    close(descriptor)  // its data is on the disk: nothing is left to fail
    descriptor = -1
    syncFolder()
  }

  /// Makes the new name durable where the file system can; the file is complete in any case.
  private func syncFolder() {
    let handle = open(Self.folder(of: path), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard handle >= 0 else { return }
    fsync(handle)
    close(handle)
  }

  private func flush() throws(IVGError) {
    try buffer.withBytes(writeAll)
    buffer.removeAll(keepingCapacity: true)
  }

  private func writeAll(_ bytes: UnsafeRawBufferPointer) throws(IVGError) {
    var rest = bytes[...]
    while !rest.isEmpty {
      let piece = UnsafeRawBufferPointer(rebasing: rest)
      let written = Glibc.write(descriptor, piece.baseAddress, piece.count)
      if written < 0 {
        if errno == EINTR { continue }
        throw failure("cannot write")
      }
      writeBack.note(written, descriptor: descriptor)
      rest = rest.dropFirst(written)
    }
  }

  func failure(_ what: String) -> IVGError {
    IVGError(.io, "\(path): \(what): \(systemMessage(errno))")
  }
}
