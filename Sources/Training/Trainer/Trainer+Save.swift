import GGUF
import Tensor
import Transformer

extension Trainer {
  /// Writes the adapter or the value head, see `ivg_trainer_save`. Throws `.notFound`, `.io`.
  package func save(path: String) throws(IVGError) {
    let isOver = hasEnded || step >= stepCount && !evaluationIsDue
    let best = isOver && bestLoss < .infinity ? bestValues : nil
    if let best { vector.exchangeValues(best) }
    defer { if let best { vector.exchangeValues(best) } }
    var writer = GGUFWriter()
    let configuration = trunk.configuration
    writer.set("general.type", .string(head == nil ? "adapter" : "value_head"))
    writer.set("general.architecture", .string(configuration.architecture.name))
    writer.set("general.name", .string(title))
    if let head {
      writer.set("value_head.kind", .string(head.kind.rawValue))
      writer.set("value_head.trunk.architecture", .string(configuration.architecture.name))
      writer.set("value_head.trunk.embedding_length", .uint32(UInt32(configuration.hiddenSize)))
      writer.set("value_head.trunk.block_count", .uint32(UInt32(configuration.layerCount)))
      writer.set("value_head.trunk.vocabulary_size", .uint32(UInt32(trunk.outputSize)))
    } else {
      writer.set("adapter.type", .string("lora"))
    }
    if let adapter { adapter.write(to: &writer) }
    if let head { head.write(to: &writer) }
    try writer.write(to: path)
  }

  private var title: String {
    switch options.objective {
    case .supervised: "supervised, \(step) steps"
    case .preference: "preference, \(step) steps, beta \(options.beta)"
    case .reward: "reward, \(step) steps"
    case .value: "value, \(step) steps"
    }
  }
}
