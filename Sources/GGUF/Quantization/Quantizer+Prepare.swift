import Glibc
import Tensor

/// What is checked and counted before the first piece.
extension Quantizer {
  /// Throws `.mismatch` unless the file is a whole model.
  static func checkKind(_ file: GGUFFile) throws(IVGError) {
    let kind = try file.metadata.string("general.type") ?? "model"
    guard kind == "model" else {
      throw IVGError(
        .mismatch, "\(file.path): general.type is \(quoted(kind)); only a model can be quantised")
    }
    let parts = try file.metadata.int("split.count", in: 0...Int(UInt16.max)) ?? 1
    guard parts <= 1 else {
      throw IVGError(
        .mismatch, "\(file.path): one of \(parts) parts of a model; merge them first")
    }
  }

  /// Throws `.invalidArgument` if the target is a file that is read, by whatever name, `.io` if it is a folder.
  static func checkDistinct(_ target: String, _ read: String) throws(IVGError) {
    var new = stat()
    var old = stat()
    guard stat(target, &new) == 0 else { return }
    guard new.st_mode & S_IFMT != S_IFDIR else {
      throw IVGError(.io, "\(target): is a folder")
    }
    guard stat(read, &old) == 0, new.st_dev == old.st_dev, new.st_ino == old.st_ino else { return }
    throw IVGError(.invalidArgument, "\(target): is \(read), which is read; choose another name")
  }

  /// Throws `.mismatch` if the weights are of another model.
  static func check(
    _ importance: ImportanceFile, _ tensors: [GGUFTensor], _ plan: QuantizationPlan
  ) throws(IVGError) {
    let matrices = zip(tensors, plan.types).filter { $0.type != $1 }.map { $0.0 }
    guard matrices.isEmpty || matrices.contains(where: { importance.has($0.name) }) else {
      throw IVGError(
        .mismatch,
        "\(importance.path): has weights for none of the model's \(matrices.count) matrices")
    }
    for matrix in matrices where importance.has(matrix.name) {
      let division = TensorDivision(matrix, elements: QuantizerPiece.chunkElements)
      _ = try importance.weights(matrix, experts: division.experts)
    }
  }

  /// The target: metadata of the source, but for what says how it is quantised.
  static func writer(_ source: GGUFFile, _ plan: QuantizationPlan, _ choice: QuantizationChoice)
    -> GGUFWriter
  {
    var writer = GGUFWriter()
    writer.set(source.metadata)
    writer.set("general.file_type", .uint32(choice.mix.fileType))
    writer.set("general.quantization_version", .uint32(2))
    for (tensor, type) in zip(source.tensors, plan.types) {
      writer.add(tensor.name, type: type, shape: tensor.shape)
    }
    return writer
  }

  /// Chunks of a piece, and bytes of the largest that is encoded.
  static func sizes(_ tensors: [GGUFTensor], _ types: [TensorType], _ options: QuantizerOptions)
    -> (capacity: Int, slotBytes: Int)
  {
    var most = 64
    for (tensor, type) in zip(tensors, types) {
      let elements = TensorDivision(tensor, elements: QuantizerPiece.chunkElements).largest
      most = max(most, elements / type.blockElements * type.blockBytes)
    }
    return (4 * max(1, min(options.threadCount, 1024)), (most + 63) / 64 * 64)
  }

  /// Bytes beside the mapped files. Throws `.outOfMemory` if they are more than the budget.
  static func checkedMemory(
    _ source: GGUFFile, _ tensors: [GGUFTensor], _ sizes: (capacity: Int, slotBytes: Int),
    _ importance: ImportanceFile?, _ options: QuantizerOptions
  ) throws(IVGError) -> Int {
    guard (1...1024).contains(options.threadCount) else {
      throw IVGError(.invalidArgument, "\(options.threadCount) threads: must be 1 ... 1024")
    }
    let metadata = source.metadata
    // Each value is held once by the writer and once, growing, by the header.
    let values = metadata.keys.reduce(0) { $0 + (metadata.encoded($1)?.count ?? 0) + 64 }
    let names = tensors.reduce(0) { $0 + $1.name.utf8.count + 128 }
    var weights = 0
    for tensor in tensors where importance?.has(tensor.name) == true {
      // As they are read, and as they are used.
      let experts = TensorDivision(tensor, elements: QuantizerPiece.chunkElements).experts
      let (bytes, overflow) = (tensor.columns * experts).multipliedReportingOverflow(by: 16)
      weights = max(weights, overflow ? Int.max / 2 : bytes)
    }
    let fixed = QuantizerPiece.memory(
      threads: options.threadCount, capacity: sizes.capacity, slotBytes: sizes.slotBytes)
    let (memory, overflow) = (fixed + 3 * values + 3 * names).addingReportingOverflow(weights)
    guard !overflow, memory <= options.memoryBudget else {
      throw IVGError(
        .outOfMemory,
        "quantising needs \(overflow ? Int.max : memory) bytes; the budget is \(options.memoryBudget)"
      )
    }
    return memory
  }
}
