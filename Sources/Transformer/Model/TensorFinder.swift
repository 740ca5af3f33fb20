import GGUF
import Tensor

/// Looks up tensors of a file by name and checks their shapes.
struct TensorFinder {
  let file: GGUFFile

  /// A matrix of `outputs` rows and `columns` columns.
  ///
  /// Throws `.corruptFile` if it is missing or has another shape.
  func matrix(_ name: String, outputs: Int, columns: Int) throws(IVGError) -> WeightMatrix {
    guard let found = try optionalMatrix(name, outputs: outputs, columns: columns) else {
      throw IVGError(.corruptFile, "\(file.path): tensor \(name) is missing")
    }
    return found
  }

  /// As `matrix`, or nil if the file has no such tensor.
  func optionalMatrix(_ name: String, outputs: Int, columns: Int) throws(IVGError) -> WeightMatrix?
  {
    guard let tensor = file.tensor(name) else { return nil }
    guard tensor.columns == columns, tensor.rows == outputs else {
      throw IVGError(
        .corruptFile,
        "\(file.path): tensor \(name) has \(tensor.columns) columns and \(tensor.rows) rows; the "
          + "metadata asks for \(columns) and \(outputs)")
    }
    do {
      return try WeightMatrix(
        type: tensor.type, data: file.data(tensor), outputs: outputs, columns: columns)
    } catch {
      throw IVGError(error.kind, "\(file.path): tensor \(name): \(error.message)")
    }
  }

  /// A vector of `count` F32 elements, aligned for direct use.
  func vector(_ name: String, count: Int) throws(IVGError) -> UnsafePointer<Float> {
    guard let found = try optionalVector(name, count: count) else {
      throw IVGError(.corruptFile, "\(file.path): tensor \(name) is missing")
    }
    return found
  }

  /// As `vector`, or nil if the file has no such tensor.
  func optionalVector(_ name: String, count: Int) throws(IVGError) -> UnsafePointer<Float>? {
    guard let tensor = file.tensor(name) else { return nil }
    guard tensor.type == .f32 else {
      throw IVGError(
        .unsupported,
        "\(file.path): tensor \(name) is \(tensor.type.name); vectors are known as F32 only")
    }
    guard tensor.columns == count, tensor.rows == 1 else {
      throw IVGError(
        .corruptFile,
        "\(file.path): tensor \(name) has \(tensor.columns) × \(tensor.rows) elements; the metadata "
          + "asks for \(count)")
    }
    return file.data(tensor).baseAddress!.assumingMemoryBound(to: Float.self)
  }

  /// The norm `name`: its weight, unless the family's norms have none, and its bias if there is one.
  func norm(_ name: String, width: Int, _ architecture: Architecture) throws(IVGError)
    -> NormWeights
  {
    NormWeights(
      weight: architecture.hasNormWeights ? try vector(name + ".weight", count: width) : nil,
      bias: try optionalVector(name + ".bias", count: width))
  }

  /// Divisors of rotation frequencies, or nil if the file has no such tensor; none of them is zero.
  func rotaryFactors(_ name: String, count: Int) throws(IVGError) -> UnsafePointer<Float>? {
    guard count > 0, let factors = try optionalVector(name, count: count) else { return nil }
    for pair in 0..<count where !(factors[pair].isFinite && abs(factors[pair]) > 1e-6) {
      throw IVGError(
        .corruptFile, "\(file.path): tensor \(name) has \(factors[pair]) at \(pair); it divides")
    }
    return factors
  }
}
