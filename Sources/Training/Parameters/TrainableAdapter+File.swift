import CIVGKernels
import GGUF
import Tensor
import Transformer

extension TrainableAdapter {
  /// Adds the adapter's tensors, in half precision and in the layout of llama.cpp.
  func write(to writer: inout GGUFWriter) {
    writer.set("adapter.lora.alpha", .float32(shape.alpha))
    for layer in 0..<trunk.configuration.layerCount {
      for projection in Projection.allCases {
        guard let delta = delta(layer: layer, projection) else { continue }
        let stem = "blk.\(layer).\(projection.tensorName).weight"
        writer.add(
          stem + ".lora_a", type: .f16, shape: [delta.inputs, delta.rank],
          data: halves(delta.rank * delta.inputs) { delta.a[$0] })
        writer.add(
          stem + ".lora_b", type: .f16, shape: [delta.rank, delta.outputs],
          data: halves(delta.rank * delta.outputs) {
            delta.b[$0 % delta.rank * delta.outputs + $0 / delta.rank]
          })
      }
    }
  }
}

extension TrainableHead {
  /// Adds the head's tensors: a scalar head in single precision, the many numbers of a vocabulary head in half.
  func write(to writer: inout GGUFWriter) {
    let size = trunk.configuration.hiddenSize
    let shape = [size, outputs]
    switch kind {
    case .scalar:
      writer.add(
        "score_head.weight", type: .f32, shape: shape,
        data: UnsafeRawBufferPointer(start: weights, count: size * 4))
      writer.add(
        "score_head.bias", type: .f32, shape: [1],
        data: UnsafeRawBufferPointer(start: bias, count: 4))
    case .vocabulary:
      // A row at a time: the whole need not be in memory twice.
      writer.add("score_head.weight", type: .f16, shape: shape) { (sink) throws(IVGError) in
        for row in 0..<self.outputs {
          let bytes = halves(size) { self.weights[row * size + $0] }
          try bytes.withBytes(sink)
        }
      }
    }
  }
}

/// The bytes of numbers in half precision.
private func halves(_ count: Int, _ number: (Int) -> Float) -> [UInt8] {
  var bytes: [UInt8] = []
  bytes.reserveCapacity(2 * count)
  for index in 0..<count {
    let half = civg_float_to_half(number(index))
    bytes.append(UInt8(truncatingIfNeeded: half))
    bytes.append(UInt8(truncatingIfNeeded: half >> 8))
  }
  return bytes
}
