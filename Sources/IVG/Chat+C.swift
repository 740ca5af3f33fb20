import CIVG
import Tensor
import Tokenizer
import Transformer

@_cdecl("ivg_model_chat_family") @implementation
public func ivg_model_chat_family(_ model: OpaquePointer) -> UnsafePointer<CChar>? {
  ModelHandle.of(model).chatFamily?.borrowed
}

@_cdecl("ivg_model_render_chat") @implementation
public func ivg_model_render_chat(
  _ model: OpaquePointer, _ chat_template: UnsafePointer<CChar>?, _ template_length: Int,
  _ messages: UnsafePointer<ivg_chat_message>, _ count: Int, _ flags: UInt32,
  _ buffer: UnsafeMutablePointer<CChar>?, _ capacity: Int, _ needed: UnsafeMutablePointer<Int>,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    try Input.check(flags: flags, known: IVG_CHAT_GENERATION_PROMPT)
    var source: [UInt8]?
    if let chat_template {
      source = Array(try Input.bytes(chat_template, template_length, "template_length"))
    }
    let template = try ModelHandle.of(model).model.chatTemplate(source)
    var conversation: [ChatMessage] = []
    for message in try Input.array(messages, count, "count") {
      let content = try Input.bytes(message.content, message.content_length, "content_length")
      conversation.append(
        ChatMessage(
          role: try ChatRole(named: String(cString: message.role)), content: Array(content)))
    }
    let text = try template.render(
      conversation, addGenerationPrompt: flags & UInt32(IVG_CHAT_GENERATION_PROMPT) != 0)
    try Text.write(text, to: buffer, capacity, needed, terminated: true)
    return ivg_status(IVG_OK)
  }
}
