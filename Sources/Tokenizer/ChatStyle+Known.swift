/// The families that are known. To add one, append a style, and its models' templates to
/// `Tests/Fixtures/make_chat_templates.py`.
extension ChatStyle {
  /// All families.
  static let known = [
    chatML, qwen3, llama2, llama3, llama3First, llama31, mistralOld, mistralV1, mistralV3,
    mistralNemo, mistralV7, gemma, gemmaFirst, gemma3, tulu2, tulu3, olmo, olmoSystem, olmo2,
    zephyr, phi3, phi3Medium, phi3Small, phi35, phi4, vicuna, orcaVicuna, deepSeek2,
  ]

  /// ChatML: with the tools of Qwen2.5, with a default system message (Qwen2, SmolLM2), and plain.
  private static let chatML = ChatStyle(
    name: "ChatML",
    sources: [
      qwen25(call: #"{\"name\": <function-name>, \"arguments\": <args-json-object>}"#),
      // As first published, with braces that were meant for a format string.
      qwen25(call: #"{{\"name\": <function-name>, \"arguments\": <args-json-object>}}"#),
      withDefault, plain, plainDefined,
    ], user: chatMLTurn("user"), assistant: chatMLTurn("assistant"),
    firstSystem: .turn(chatMLTurn("system")),
    laterSystem: .turn(chatMLTurn("system")), generation: chatMLTurn("assistant").before)

  static func chatMLTurn(_ role: String) -> ChatTurn {
    ChatTurn(before: "<|im_start|>\(role)\n", end: "<|im_end|>", after: "\n")
  }

  private static let plain = #"""
    {% for message in messages %}\#(turn){% endfor %}\#(generation)
    """#

  private static let plainDefined = #"""
    {% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}\#(plain)
    """#

  private static let withDefault = #"""
    {% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}\#
    {{ '<|im_start|>system\n\#0<|im_end|>\n' }}{% endif %}\#
    \#(turn){% endfor %}\#(generation)
    """#

  private static let turn = #"""
    {{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}
    """#

  private static let generation = #"""
    {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}
    """#

  /// `call` says what the template tells the model of calls.
  private static func qwen25(call: String) -> String {
    #"""
    {%- if tools %}
        {{- '<|im_start|>system\n' }}
        {%- if messages[0]['role'] == 'system' %}
            {{- messages[0]['content'] }}
        {%- else %}
            {{- '\#0' }}
        {%- endif %}
        {{- "\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with function signatures within <tools></tools> XML tags:\n<tools>" }}
        {%- for tool in tools %}
            {{- "\n" }}
            {{- tool | tojson }}
        {%- endfor %}
        {{- "\n</tools>\n\nFor each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n\#(call)\n</tool_call><|im_end|>\n" }}
    {%- else %}
        {%- if messages[0]['role'] == 'system' %}
            {{- '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}
        {%- else %}
            {{- '<|im_start|>system\n\#0<|im_end|>\n' }}
        {%- endif %}
    {%- endif %}
    {%- for message in messages %}
        {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
            {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
        {%- elif message.role == "assistant" %}
            {{- '<|im_start|>' + message.role }}
            {%- if message.content %}
                {{- '\n' + message.content }}
            {%- endif %}
            {%- for tool_call in message.tool_calls %}
                {%- if tool_call.function is defined %}
                    {%- set tool_call = tool_call.function %}
                {%- endif %}
                {{- '\n<tool_call>\n{"name": "' }}
                {{- tool_call.name }}
                {{- '", "arguments": ' }}
                {{- tool_call.arguments | tojson }}
                {{- '}\n</tool_call>' }}
            {%- endfor %}
            {{- '<|im_end|>\n' }}
        {%- elif message.role == "tool" %}
            {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}
                {{- '<|im_start|>user' }}
            {%- endif %}
            {{- '\n<tool_response>\n' }}
            {{- message.content }}
            {{- '\n</tool_response>' }}
            {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
                {{- '<|im_end|>\n' }}
            {%- endif %}
        {%- endif %}
    {%- endfor %}
    {%- if add_generation_prompt %}
        {{- '<|im_start|>assistant\n' }}
    {%- endif %}
    """#
  }
}
