import Tensor

/// A GGUF file, mapped read-only.
///
/// Opening reads header, metadata and tensor descriptions and checks all of them against the file;
/// it takes time proportional to the metadata and never touches tensor data. After that nothing
/// fails.
///
/// Ownership: bytes handed out (tensor data, strings) are borrowed from the mapping, which lives as
/// long as this object, its `metadata` or an array of it. Threads: immutable, usable from any
/// thread.
///
/// Limit: if another process truncates the file while it is open, touching the lost part raises
/// SIGBUS; see `FileMapping`.
package final class GGUFFile: @unchecked Sendable {
  /// The path as given to `init`.
  package let path: String
  /// Version of the format: 2 or 3.
  package let version: UInt32
  /// Size of the file in bytes.
  package let fileSize: Int
  /// Alignment of tensor data in bytes: a power of two, 8 to 1 MiB.
  package let alignment: Int
  /// Key–value pairs, in file order.
  package let metadata: GGUFMetadata
  /// All tensors, in file order.
  package let tensors: [GGUFTensor]

  private let mapping: FileMapping
  private let tensorIndex: [String: Int]

  /// Opens and checks the file at `path`.
  ///
  /// Throws `.notFound` if there is no such file; `.io` if it cannot be read or is no regular file;
  /// `.corruptFile` if it is not GGUF, is cut off or contradicts itself; `.unsupported` for other
  /// versions, big-endian files and tensor types that this library does not know. The message names
  /// the file, the field, its value and the bound.
  package init(path: String) throws(IVGError) {
    let mapping = try FileMapping(path: path)
    var parser = GGUFParser(mapping)
    let result = try parser.parse()
    self.path = path
    self.mapping = mapping
    fileSize = mapping.count
    version = result.version
    alignment = result.alignment
    metadata = result.metadata
    tensors = result.tensors
    tensorIndex = result.tensorIndex
  }

  /// The tensor called `name`, or nil. O(1).
  package func tensor(_ name: String) -> GGUFTensor? {
    tensorIndex[name].map { tensors[$0] }
  }

  /// The encoded elements of a tensor of this file, borrowed from the mapping: valid while this
  /// object is alive, aligned to `alignment`. Passing a tensor of another file is a mistake of the
  /// caller; it stops the program if its bytes would lie outside this file.
  package func data(_ tensor: GGUFTensor) -> UnsafeRawBufferPointer {
    guard let bytes = mapping.bytes(at: tensor.offset, count: tensor.byteCount) else {
      preconditionFailure("tensor \(quoted(tensor.name)) is not of the file \(path)")
    }
    return bytes
  }
}
