// SPDX-License-Identifier: Apache-2.0

//! Conversations as a model's chat template writes them.

use crate::error::Error;
use crate::model::flag;
use crate::options::options;
use crate::text::{fill, owned, utf8, Texts};
use crate::Model;
use ivg_sys as sys;
use std::ptr;

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[doc(alias = "ivg_chat_message")]
pub struct ChatMessage {
    /// "system", "user" or "assistant".
    pub role: String,
    /// What it says, verbatim.
    pub content: String,
}

impl ChatMessage {
    /// A message of any role.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }

    /// What the model is to be.
    pub fn system(content: impl Into<String>) -> Self {
        Self::new("system", content)
    }

    /// What a person says.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new("user", content)
    }

    /// What the model has answered.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::new("assistant", content)
    }
}

options! {
    /// How a conversation is rendered.
    pub struct ChatOptions {
        /// The Jinja text of another chat template in place of the file's own.
        template: String = impl Into<String>,
        /// Whether the beginning of the assistant's answer follows (default true).
        #[doc(alias = "IVG_CHAT_GENERATION_PROMPT")]
        generation_prompt: bool = bool,
    }
    with {}
}

impl Model {
    /// The family whose chat template the model's file holds, "ChatML" for one; `None` if it has none or it is not known.
    #[doc(alias = "ivg_model_chat_family")]
    pub fn chat_family(&self) -> Option<String> {
        // SAFETY: the string is borrowed from the model, which is alive.
        unsafe { owned(sys::ivg_model_chat_family(self.raw())) }
    }

    /// A conversation as the model's own chat template writes it, to the byte, with the beginning of the answer: a prompt
    /// for [`Session::stream`](crate::Session::stream).
    ///
    /// # Errors
    /// `Unsupported` for no template or one that is not known: templates are recognised, not run. `InvalidArgument` for
    /// no messages, a role that is not known, or a conversation that the template refuses.
    pub fn render_chat(&self, messages: &[ChatMessage]) -> Result<String, Error> {
        self.render_chat_with(messages, &ChatOptions::new())
    }

    /// A conversation as a chat template writes it. Otherwise as [`render_chat`](Self::render_chat).
    #[doc(alias = "ivg_model_render_chat")]
    pub fn render_chat_with(&self, messages: &[ChatMessage], options: &ChatOptions) -> Result<String, Error> {
        let mut roles = Texts::default();
        let raw = messages.iter().map(|message| {
            let (content, content_length) = (message.content.as_ptr().cast(), message.content.len());
            Ok(sys::ivg_chat_message { role: roles.text("role", &message.role)?, content, content_length })
        });
        let raw = raw.collect::<Result<Vec<_>, Error>>()?;
        let template = options.template.as_deref().unwrap_or_default();
        let template_start = options.template.as_ref().map_or(ptr::null(), |text| text.as_ptr().cast());
        let flags = flag(options.generation_prompt.unwrap_or(true), sys::IVG_CHAT_GENERATION_PROMPT);
        let guess = messages.iter().map(|message| message.content.len() + 64).sum::<usize>() + 256;
        let text = fill(guess, 1, |buffer: *mut u8, capacity, needed, error| {
            // SAFETY: all texts are as long as said, and the buffer too.
            unsafe {
                let (first, count, buffer) = (raw.as_ptr(), raw.len(), buffer.cast());
                sys::ivg_model_render_chat(
                    self.raw(),
                    template_start,
                    template.len(),
                    first,
                    count,
                    flags,
                    buffer,
                    capacity,
                    needed,
                    error,
                )
            }
        })?;
        utf8(text)
    }
}
