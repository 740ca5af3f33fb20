import Tensor

/// Collects metadata and tensors and writes them as a GGUF file, version 3.
///
/// Nothing is checked before `write`, which refuses whatever `GGUFFile` would not read back. To
/// write with another alignment than 32, set `general.alignment` (uint32).
///
/// Threads: a value, used by one thread at a time.
package struct GGUFWriter {
  /// Takes the bytes of a tensor, in order, in pieces of any size. Throws `.io` when they cannot be
  /// written; a source passes that on.
  package typealias Sink = (UnsafeRawBufferPointer) throws(IVGError) -> Void
  /// Produces a tensor's bytes by calling the sink. It runs during `write`, once; it may throw.
  package typealias Source = (Sink) throws(IVGError) -> Void

  private struct Tensor {
    let name: String
    let type: TensorType
    let shape: [Int]
    let source: Source
  }

  private var keys: [String] = []
  private var values: [String: GGUFWriterValue] = [:]
  private var tensors: [Tensor] = []

  /// A file with no metadata and no tensors.
  package init() {}

  /// Sets a metadata value. A new key goes to the end, a known one keeps its place.
  package mutating func set(_ key: String, _ value: GGUFWriterValue) {
    if values.updateValue(value, forKey: key) == nil { keys.append(key) }
  }

  /// Sets every value of another file, byte for byte as it is stored there.
  package mutating func set(_ metadata: GGUFMetadata) {
    for key in metadata.keys {
      if let type = metadata.type(key), let bytes = metadata.encoded(key) {
        set(key, GGUFWriterValue(type, encoded: bytes))
      }
    }
  }

  /// Adds a tensor whose bytes `data` produces while the file is written: a large file never has to
  /// be in memory. `shape` is in GGUF order, columns first.
  package mutating func add(
    _ name: String, type: TensorType, shape: [Int], data: @escaping Source
  ) {
    tensors.append(Tensor(name: name, type: type, shape: shape, source: data))
  }

  /// Adds a tensor whose bytes are in memory. They are borrowed: they must stay valid until `write`
  /// has returned.
  package mutating func add(
    _ name: String, type: TensorType, shape: [Int], data: UnsafeRawBufferPointer
  ) {
    add(name, type: type, shape: shape) { (sink) throws(IVGError) in try sink(data) }
  }

  /// Adds a tensor whose bytes are copied, for small ones.
  package mutating func add(_ name: String, type: TensorType, shape: [Int], data: [UInt8]) {
    add(name, type: type, shape: shape) { (sink) throws(IVGError) in try data.withBytes(sink) }
  }

  /// Writes the file. It appears under `path` complete and on the disk, or not at all; what was
  /// there before is replaced in one step, and a process that has it mapped keeps the old one.
  ///
  /// Throws `.invalidArgument` for what no file may hold (a name used twice, a shape that does not
  /// fit its type, a source that gave too few or too many bytes), `.notFound` if the folder does
  /// not exist, `.io` if writing fails (a full disk), and what a source throws.
  package func write(to path: String) throws(IVGError) {
    let stream = try begin(path)
    for tensor in tensors {
      try tensor.source { (bytes) throws(IVGError) in try stream.write(bytes) }
      try stream.endTensor()
    }
    try stream.commit()
  }

  /// Checks everything and writes the header; whoever calls gives the bytes of each tensor to the stream,
  /// and no source runs. Throws as `write` does.
  package func begin(_ path: String) throws(IVGError) -> GGUFStream {
    let alignment = try alignment(path)
    let sizes = try sizes(path)
    return try GGUFStream(
      path: path, header: header(sizes, alignment), alignment: alignment,
      names: tensors.map(\.name), sizes: sizes)
  }

  /// Adds a tensor whose bytes go to the stream of `begin`.
  package mutating func add(_ name: String, type: TensorType, shape: [Int]) {
    add(name, type: type, shape: shape) { (_) throws(IVGError) in }
  }

  /// Everything before the tensor data, without padding.
  private func header(_ sizes: [Int], _ alignment: Int) -> [UInt8] {
    var bytes: [UInt8] = Array("GGUF".utf8)
    bytes.append(littleEndian: 3 as UInt32)
    bytes.append(littleEndian: UInt64(tensors.count))
    bytes.append(littleEndian: UInt64(keys.count))
    func append(name: String) {
      bytes.append(littleEndian: UInt64(name.utf8.count))
      bytes += Array(name.utf8)
    }
    for key in keys {
      guard let value = values[key] else { continue }  // every key has one
      append(name: key)
      bytes.append(littleEndian: value.type.rawValue)
      bytes += value.bytes
    }
    var offset = 0
    for (tensor, size) in zip(tensors, sizes) {
      append(name: tensor.name)
      bytes.append(littleEndian: UInt32(tensor.shape.count))
      for extent in tensor.shape { bytes.append(littleEndian: UInt64(extent)) }
      bytes.append(littleEndian: tensor.type.rawValue)
      bytes.append(littleEndian: UInt64(offset))
      offset += size + (alignment - size % alignment) % alignment  // `sizes` checked the sum
    }
    return bytes
  }

  /// The alignment that the metadata ask for.
  private func alignment(_ path: String) throws(IVGError) -> Int {
    guard let value = values["general.alignment"] else { return 32 }
    let number = value.bytes.reversed().reduce(0) { $0 << 8 | Int($1) }
    guard value.type == .uint32, GGUFLimits.alignment.contains(number), number & (number - 1) == 0
    else {
      throw invalid(
        path, "general.alignment must be a uint32, a power of two, \(GGUFLimits.alignment)")
    }
    return number
  }

  /// The size of every tensor, checked as the reader checks it.
  private func sizes(_ path: String) throws(IVGError) -> [Int] {
    for key in keys where key.utf8.count > GGUFLimits.nameLength {
      throw invalid(path, "key \(quoted(key)) is longer than \(GGUFLimits.nameLength) bytes")
    }
    var names: Set<String> = []
    var sizes: [Int] = []
    var total = 0
    for tensor in tensors {
      let field = "tensor \(quoted(tensor.name))"
      guard names.insert(tensor.name).inserted else { throw invalid(path, "\(field) occurs twice") }
      guard tensor.name.utf8.count <= GGUFLimits.nameLength else {
        throw invalid(path, "\(field): a name longer than \(GGUFLimits.nameLength) bytes")
      }
      let block = tensor.type.blockElements
      guard (1...GGUFLimits.dimensions).contains(tensor.shape.count),
        tensor.shape.allSatisfy({ $0 > 0 }), tensor.shape[0] % block == 0
      else {
        throw invalid(
          path,
          "\(field): shape \(tensor.shape) as \(tensor.type.name); it must be 1 to 4 extents, "
            + "none of them 0, the first a multiple of \(block)")
      }
      var size = tensor.shape[0] / block
      for factor in tensor.shape.dropFirst() + [tensor.type.blockBytes] {
        let (product, overflow) = size.multipliedReportingOverflow(by: factor)
        guard !overflow else { throw invalid(path, "\(field): more than \(Int.max) bytes") }
        size = product
      }
      // A quarter of the range for all tensors leaves room for padding and header.
      guard size <= Int.max / 4 - total else { throw invalid(path, "\(field): too large a file") }
      total += size
      sizes.append(size)
    }
    return sizes
  }

  private func invalid(_ path: String, _ message: String) -> IVGError {
    IVGError(.invalidArgument, "\(path): \(message)")
  }
}
