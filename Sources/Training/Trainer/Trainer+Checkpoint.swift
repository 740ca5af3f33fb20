import GGUF
import Glibc
import Tensor

/// The state of a run as a file. It appears complete or not at all, so that a run which is killed at any
/// moment goes on from the last one and ends with the same bits.
extension Trainer {
  private static let format: UInt32 = 1

  /// Writes the checkpoint. Throws `.invalidArgument` without a path for it, `.notFound`, `.io`.
  package func checkpoint() throws(IVGError) {
    guard let path = options.checkpointPath else {
      throw IVGError(.invalidArgument, "this trainer has no checkpoint_path")
    }
    var writer = GGUFWriter()
    writer.set("general.type", .string("training_state"))
    writer.set("training.format", .uint32(Self.format))
    for (name, value) in identity.parts { writer.set("run." + name, .string(value)) }
    writer.set("training.step", .uint64(UInt64(step)))
    writer.set("training.evaluation_is_due", .bool(evaluationIsDue))
    writer.set("training.has_ended", .bool(hasEnded))
    writer.set("training.best_loss", .uint64(bestLoss.bitPattern))
    writer.set("training.worse_evaluations", .uint64(UInt64(worseEvaluations)))
    for (name, buffer) in numbers {
      writer.set("training.hash." + name, .uint64(ContentHash.hash(buffer)))
      writer.add(name, type: .f32, shape: [vector.count], data: buffer)
    }
    for (name, values) in [("reference", reference), ("evaluation", evaluationReference)]
    where !values.isEmpty && preparedCount == prepareCount {
      // Doubles, bit by bit.
      let bytes = Self.bytes(values)
      writer.set("training.hash." + name, .uint64(bytes.withUnsafeBytes { ContentHash.hash($0) }))
      writer.add(name, type: .f32, shape: [2 * values.count], data: bytes)
    }
    try writer.write(to: path)
  }

  /// The tensors that are as long as the parameter vector.
  private var numbers: [(String, UnsafeRawBufferPointer)] {
    var all = [
      ("values", vector.values), ("first_moments", vector.firstMoments),
      ("second_moments", vector.secondMoments),
    ]
    if bestLoss < .infinity, let bestValues { all.append(("best_values", bestValues)) }
    return all.map {
      ($0.0, UnsafeRawBufferPointer(start: $0.1.pointer, count: vector.count * 4))
    }
  }

  private static func bytes(_ values: [Double]) -> [UInt8] {
    values.withUnsafeBytes { Array($0) }
  }

  /// Takes up the checkpoint, if there is one.
  ///
  /// Throws `.mismatch` for another run's, `.corruptFile`, `.io`.
  func resume() throws(IVGError) {
    guard let path = options.checkpointPath, access(path, F_OK) == 0 else { return }
    let file = try GGUFFile(path: path)
    let metadata = file.metadata
    guard try metadata.string("general.type") == "training_state" else {
      throw IVGError(
        .mismatch, "\(path): is no checkpoint of a training; it is left as it is")
    }
    guard try metadata.int("training.format", in: 0...Int(UInt32.max)) == Int(Self.format) else {
      throw IVGError(.unsupported, "\(path): training.format is not \(Self.format)")
    }
    try identity.check(metadata, path: path)
    step = try metadata.requiredInt("training.step", in: 0...stepCount)
    worseEvaluations = try metadata.requiredInt(
      "training.worse_evaluations", in: 0...(options.patience ?? 0))
    bestLoss = Double(bitPattern: try bits("training.best_loss", metadata, path))
    evaluationIsDue = try flag("training.evaluation_is_due", metadata, path)
    hasEnded = try flag("training.has_ended", metadata, path)
    for (name, buffer) in numbers {
      let source = try tensor(name, bytes: buffer.count, file)
      memcpy(
        UnsafeMutableRawPointer(mutating: buffer.baseAddress!), source.baseAddress!, buffer.count)
    }
    // A run that was stopped while it prepared does that again.
    if options.objective == .preference, step > 0 || file.tensor("reference") != nil {
      reference = try doubles("reference", count: 2 * data.count, file)
      if let evaluationData {
        evaluationReference = try doubles("evaluation", count: 2 * evaluationData.count, file)
      }
      preparedCount = prepareCount
    }
    resumedStep = step
  }

  private func tensor(_ name: String, bytes: Int, _ file: GGUFFile) throws(IVGError)
    -> UnsafeRawBufferPointer
  {
    guard let tensor = file.tensor(name), tensor.type == .f32, file.data(tensor).count == bytes
    else {
      throw IVGError(
        .corruptFile, "\(file.path): tensor \(name) is missing or not \(bytes) bytes of F32")
    }
    let data = file.data(tensor)
    guard
      try bits("training.hash." + name, file.metadata, file.path) == ContentHash.hash(data)
    else {
      throw IVGError(.corruptFile, "\(file.path): tensor \(name) is damaged")
    }
    return data
  }

  private func doubles(_ name: String, count: Int, _ file: GGUFFile) throws(IVGError) -> [Double] {
    guard count > 0 else { return [] }
    let source = try tensor(name, bytes: 8 * count, file)
    return [Double](unsafeUninitializedCapacity: count) { buffer, initialized in
      memcpy(buffer.baseAddress!, source.baseAddress!, 8 * count)
      initialized = count
    }
  }

  private func bits(_ key: String, _ metadata: GGUFMetadata, _ path: String) throws(IVGError)
    -> UInt64
  {
    guard case .uint(let value)? = metadata[key] else {
      throw IVGError(.corruptFile, "\(path): \(key) is missing or no 64-bit number")
    }
    return value
  }

  private func flag(_ key: String, _ metadata: GGUFMetadata, _ path: String) throws(IVGError)
    -> Bool
  {
    guard case .bool(let value)? = metadata[key] else {
      throw IVGError(.corruptFile, "\(path): \(key) is missing or no truth value")
    }
    return value
  }
}
