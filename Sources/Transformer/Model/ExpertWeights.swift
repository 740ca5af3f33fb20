import GGUF
import Tensor

/// A feed-forward layer of which each row passes a few of many: borrowed views into the mapped file.
package struct ExpertWeights: Sendable {
  let router: WeightMatrix  // [experts, hidden]
  let gate: [WeightMatrix]  // [experts] each [feed-forward, hidden]
  let up: [WeightMatrix]  // [experts] each [feed-forward, hidden]
  let down: [WeightMatrix]  // [experts] each [hidden, feed-forward]

  /// Finds and checks the experts of layer `index`: stacked in one tensor, or (older files) one each.
  ///
  /// Throws `.corruptFile` naming the tensor that is missing or has another shape than the metadata says.
  init(file: GGUFFile, configuration c: ModelConfiguration, index: Int) throws(IVGError) {
    let tensors = TensorFinder(file: file)
    func experts(_ name: String, _ projection: Projection) throws(IVGError) -> [WeightMatrix] {
      let (outputs, columns) = projection.shape(c)
      let stacked = "blk.\(index).\(name)_exps.weight"
      let count = c.expertCount
      if let all = try tensors.optionalMatrix(
        stacked, outputs: count * outputs, columns: columns)
      {
        return (0..<count).map { all.rows($0 * outputs..<($0 + 1) * outputs) }
      }
      guard file.tensor("blk.\(index).\(name).0.weight") != nil else {
        throw IVGError(.corruptFile, "\(file.path): tensor \(stacked) is missing")
      }
      var each: [WeightMatrix] = []
      for expert in 0..<count {
        each.append(
          try tensors.matrix(
            "blk.\(index).\(name).\(expert).weight", outputs: outputs, columns: columns))
      }
      return each
    }
    router = try tensors.matrix(
      "blk.\(index).ffn_gate_inp.weight", outputs: c.expertCount, columns: c.hiddenSize)
    gate = try experts("ffn_gate", .gate)
    up = try experts("ffn_up", .up)
    down = try experts("ffn_down", .down)
  }
}
