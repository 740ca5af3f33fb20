import Tensor

/// A GGUF file that is being written: its header is there, the bytes of its tensors come in order.
///
/// Made by `GGUFWriter.begin`. Call `write` until a tensor has all its bytes, then `endTensor`, for each
/// tensor in the order in which they were added; then `commit`. If the object goes away before that, the
/// file does too.
///
/// Threads: one at a time.
package final class GGUFStream {
  private let path: String
  private let file: AtomicFile
  private let alignment: Int
  private let names: [String]
  private let sizes: [Int]
  /// The tensor whose bytes come.
  private var tensor = 0
  /// Bytes of it that came.
  private var given = 0

  /// Writes the header. Throws `.notFound` if the folder does not exist, `.io`.
  init(path: String, header: [UInt8], alignment: Int, names: [String], sizes: [Int])
    throws(IVGError)
  {
    self.path = path
    self.alignment = alignment
    self.names = names
    self.sizes = sizes
    file = try AtomicFile(path: path)
    try header.withBytes(file.write)
    try pad(header.count)
  }

  /// Appends bytes to the tensor at hand. Throws `.invalidArgument` if they are more than it has, `.io`.
  package func write(_ bytes: UnsafeRawBufferPointer) throws(IVGError) {
    guard tensor < sizes.count, bytes.count <= sizes[tensor] - given else {
      throw tensor < sizes.count
        ? invalid("more than its \(sizes[tensor]) bytes came")
        : IVGError(.invalidArgument, "\(path): bytes came after the last tensor")
    }
    given += bytes.count
    try file.write(bytes)
  }

  /// Goes on to the next tensor. Throws `.invalidArgument` if bytes are missing, `.io`.
  package func endTensor() throws(IVGError) {
    guard tensor < sizes.count, given == sizes[tensor] else {
      throw tensor < sizes.count
        ? invalid("\(given) of its \(sizes[tensor]) bytes came")
        : IVGError(.invalidArgument, "\(path): more tensors came than were announced")
    }
    try pad(given)
    tensor += 1
    given = 0
  }

  /// Gives the file its name, complete and on the disk. Throws `.invalidArgument` if tensors are missing,
  /// `.io`.
  package func commit() throws(IVGError) {
    guard tensor == sizes.count else {
      throw IVGError(.invalidArgument, "\(path): \(tensor) of its \(sizes.count) tensors came")
    }
    try file.commit()
  }

  /// Writes zeros after `count` bytes up to the next multiple of the alignment.
  private func pad(_ count: Int) throws(IVGError) {
    let padding = (alignment - count % alignment) % alignment
    try [UInt8](repeating: 0, count: padding).withBytes(file.write)
  }

  private func invalid(_ message: String) -> IVGError {
    IVGError(.invalidArgument, "\(path): tensor \(quoted(names[tensor])): \(message)")
  }
}
