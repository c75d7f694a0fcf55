"""WGAN-GP over waveforms in PyTorch: kgan's networks, losses and optimizers, written in the style of a PyTorch project."""

import itertools

import torch
from torch import nn

START_LENGTH, KERNEL_SIZE, STRIDE, LAYERS = 16, 25, 4, 5
LEAK = 0.2
VARIANTS = {
    "PyTorch float32": {"bfloat16": False, "channels_last": False},
    "PyTorch float32, channels last": {"bfloat16": False, "channels_last": True},
    "PyTorch bfloat16": {"bfloat16": True, "channels_last": False},
    "PyTorch bfloat16, channels last": {"bfloat16": True, "channels_last": True},
}


def _convolution(module_1d, module_2d, inputs, outputs, channels_last):
    if channels_last:  # PyTorch has this layout only for images: a waveform is an image of height 1
        return module_2d(inputs, outputs, (1, KERNEL_SIZE), (1, STRIDE), padding=(0, 10))
    return module_1d(inputs, outputs, KERNEL_SIZE, STRIDE, padding=10)


class Generator(nn.Module):
    """Latents `(batch, latent_dim)` -> waveforms `(batch, 1, 16384)`, or `(batch, 1, 1, 16384)` in channels-last layout."""

    def __init__(self, dim, latent_dim, channels_last):
        super().__init__()
        widths = [dim * 2**i for i in reversed(range(LAYERS))] + [1]
        self.start = (widths[0], 1, START_LENGTH) if channels_last else (widths[0], START_LENGTH)
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.dense = nn.Linear(latent_dim, START_LENGTH * widths[0])
        self.convolutions = nn.ModuleList(
            _convolution(nn.ConvTranspose1d, nn.ConvTranspose2d, *pair, channels_last) for pair in itertools.pairwise(widths)
        )

    def forward(self, latents):
        x = nn.functional.leaky_relu(self.dense(latents).view(-1, *self.start).contiguous(memory_format=self.layout), LEAK)
        for i, convolution in enumerate(self.convolutions):
            x = convolution(x)[..., :-1]  # like "same" padding: the length is multiplied by the stride
            x = nn.functional.leaky_relu(x, LEAK) if i < LAYERS - 1 else torch.tanh(x.float())
        return x


class Critic(nn.Module):
    """Waveforms in the generator's layout -> scores `(batch, 1)`."""

    def __init__(self, dim, channels_last):
        super().__init__()
        widths = [1] + [dim * 2**i for i in range(LAYERS)]
        self.convolutions = nn.ModuleList(
            _convolution(nn.Conv1d, nn.Conv2d, *pair, channels_last) for pair in itertools.pairwise(widths)
        )
        self.dense = nn.Linear(START_LENGTH * widths[-1], 1)

    def forward(self, x):
        for convolution in self.convolutions:
            x = nn.functional.leaky_relu(convolution(nn.functional.pad(x, (0, 1))), LEAK)
        return self.dense(x.flatten(1))


class TorchWGANGP:
    """The GAN. One `iteration` is five critic steps and a generator step, like `kgan.WGANGP.train_step`.

    Args:
        dim: width of the networks.
        bfloat16: whether the networks run under bfloat16 autocast.
        channels_last: whether to use two-dimensional convolutions in channels-last layout.
    """

    def __init__(self, dim, latent_dim=100, n_critic=5, bfloat16=False, channels_last=False, seed=0):
        torch.manual_seed(seed)
        self.latent_dim, self.n_critic, self.bfloat16, self.channels_last = latent_dim, n_critic, bfloat16, channels_last
        self.generator, self.critic = Generator(dim, latent_dim, channels_last), Critic(dim, channels_last)
        self.average = [weight.detach().clone() for weight in self.generator.parameters()]
        if channels_last:
            self.generator.to(memory_format=torch.channels_last)
            self.critic.to(memory_format=torch.channels_last)
        options = {"lr": 2e-4, "betas": (0.5, 0.9), "fused": True}
        self.generator_optimizer = torch.optim.Adam(self.generator.parameters(), **options)
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), **options)

    def critic_loss(self, real, latents, mix):
        """Return the critic's loss with penalty for real waveforms, latents and interpolation coefficients `(batch,)`."""
        with torch.no_grad(), self.autocast():
            fake = self.generator(latents)
        points = torch.lerp(real, fake, mix.view(-1, *[1] * (real.dim() - 1))).requires_grad_()
        with self.autocast():
            real_scores, fake_scores = self.critic(torch.cat([real, fake])).float().chunk(2)
            scores = self.critic(points).float()
        (gradients,) = torch.autograd.grad(scores.sum(), points, create_graph=True)
        norms = torch.sqrt(gradients.flatten(1).square().sum(1) + 1e-12)
        return fake_scores.mean() - real_scores.mean() + 10.0 * (norms - 1.0).square().mean()

    def generator_loss(self, latents):
        """Return the generator's loss for latents."""
        with self.autocast():
            return -self.critic(self.generator(latents)).float().mean()

    def iteration(self, real):
        """Train on real waveforms `(n_critic * batch, 16384)`."""
        real = real[:, None, None] if self.channels_last else real[:, None]
        batch_size = len(real) // self.n_critic
        for batch in real.split(batch_size):
            loss = self.critic_loss(batch, torch.randn(batch_size, self.latent_dim), torch.rand(batch_size))
            self.critic_optimizer.zero_grad()
            loss.backward(inputs=list(self.critic.parameters()))  # skip gradients that would not be used
            self.critic_optimizer.step()
        loss = self.generator_loss(torch.randn(batch_size, self.latent_dim))
        self.generator_optimizer.zero_grad()
        loss.backward(inputs=list(self.generator.parameters()))
        self.generator_optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(self.average, list(self.generator.parameters()), 0.001)

    def autocast(self):
        """Return the autocast context of the networks."""
        return torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16)
